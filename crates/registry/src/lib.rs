//! The OCI distribution-spec client: pull, push, tokens and credentials, under the faults registries are known to have.
