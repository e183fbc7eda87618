//! Servers that are not there, or are not what they should be.

use std::time::Duration;

use registry::{Client, Credentials, Options, Reference, Retry};
use testkit::{Registry, RegistryFault, Site, When};

use crate::common::{bytes, client, finish, open, push, shown};

async fn fails(name: &str, options: Options) -> String {
    let reference: Reference = name.parse().unwrap();
    let error = Client::new(options)
        .unwrap()
        .repository(&reference)
        .resolve("1")
        .await
        .unwrap_err();
    let hint = error.hint().unwrap_or_default();
    let port = reference.registry().rsplit_once(':').unwrap_or_default().1;
    format!("error: {error}\nhint: {hint}").replace(port, "PORT")
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there() {
    let options = || Options {
        retry: Retry {
            tries: 2,
            first_delay: Duration::from_millis(1),
            longest_delay: Duration::from_millis(1),
        },
        ..Options::default()
    };
    // A port that nobody listens at for as long as it is held here without listening.
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    insta::assert_snapshot!(fails(&format!("127.0.0.1:{port}/x"), options()).await);
    insta::assert_snapshot!(fails("no-such-host.invalid:443/x", options()).await);
    // A server without TLS where TLS is a must: 127.0.0.1 by a name that is not loopback's.
    let registry = Registry::start();
    let name = format!("0.0.0.0:{}/x", registry.port());
    insta::assert_snapshot!(fails(&name, options()).await);
    let allowed = Options {
        insecure: vec!["0.0.0.0".to_owned()],
        ..options()
    };
    let reference: Reference = name.parse().unwrap();
    let repository = Client::new(allowed).unwrap().repository(&reference);
    assert_eq!(repository.resolve("1").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers() {
    let registry = Registry::start();
    registry.fault_when(RegistryFault::Hang(Site::Any), When::Always);
    let (client, told) = client(Credentials::none());
    let repository = open(&client, &registry, "acme/app");
    let error = push(&repository, &bytes(1, 10)).await.unwrap_err();
    assert!(
        shown(&error, &registry).contains("did not answer within 0.5 s"),
        "{error}"
    );
    finish(&registry, &told, Some(&error));
}
