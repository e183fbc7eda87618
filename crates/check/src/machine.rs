//! ELF files fit the platform, and wheels' native files fit their tags (the platform compatibility tags
//! specification).

use std::collections::BTreeSet;

use contents::{Body, Class, Ecosystem, Elf, ElfKind, Endianness};
use facts::path::{join, name, parent};
use oci::Platform;

use crate::image::Image;
use crate::report::{Code, Counts, Finding, Severity};

/// `EF_ARM_ABI_FLOAT_SOFT`: what such a file gives to functions, hard-float code does not find.
const SOFT_FLOAT: u32 = 0x200;

/// Machines that are not the host's: eBPF, CUDA, AMD's GPUs.
const DEVICES: [u16; 3] = [247, 190, 224];

/// Names of machines in the names of files and directories.
const NAMES: [&str; 12] = [
    "x86_64", "amd64", "x64", "aarch64", "arm64", "armv7", "armhf", "i386", "i686", "x86",
    "ppc64le", "s390x",
];

/// Every ELF file with its path.
pub(crate) fn elf_files<'a>(image: &'a Image<'_>) -> impl Iterator<Item = (&'a str, &'a Elf)> {
    image.contents.iter().filter_map(|found| {
        match &found.entry.file()?.body {
            // Separate debug information has the headers of a program and none of its contents.
            Body::Elf(elf) if !found.path.starts_with("usr/lib/debug/") => {
                Some((found.path, &**elf))
            }
            _ => None,
        }
    })
}

/// Whether the platform can load it.
pub(crate) fn fits(elf: &Elf, platform: Platform) -> bool {
    let (class, machine) = match platform {
        Platform::Amd64 => (Class::Elf64, 62),
        Platform::Arm64 => (Class::Elf64, 183),
        Platform::ArmV7 => (Class::Elf32, 40),
    };
    let soft = platform == Platform::ArmV7 && elf.flags & SOFT_FLOAT != 0;
    elf.class == class && elf.machine == machine && elf.endianness == Endianness::Little && !soft
}

/// A machine as messages name it.
pub(crate) fn machine(elf: &Elf) -> String {
    let name = match elf.machine {
        3 => "i386",
        40 if elf.flags & SOFT_FLOAT != 0 => "arm with software floating point",
        40 => "arm",
        62 => "x86-64",
        183 => "aarch64",
        243 => "riscv64",
        22 => "s390x",
        21 => "ppc64",
        other => return format!("machine {other}"),
    };
    let big = match elf.endianness {
        Endianness::Big if elf.machine != 22 => ", big-endian",
        _ => "",
    };
    format!("{name} ({}{big})", elf.class)
}

pub(crate) fn check(image: &Image<'_>, counts: &mut Counts, findings: &mut Vec<Finding>) {
    let mut native = BTreeSet::new();
    for (path, elf) in elf_files(image) {
        counts.elf_files += 1;
        if let Some(wheel) = image.owners.wheel_of(path) {
            native.insert(&wheel.metadata);
        }
        if let Some(fault) = &elf.fault {
            findings.push(
                image
                    .finding(Severity::Note, Code::DamagedElf, path, format!("cannot be read: {fault}"))
                    .hint("rule: what cannot be read proves nothing; nothing else of this file was checked"),
            );
        }
        if fits(elf, image.platform) {
            continue;
        }
        let message = format!(
            "is for {}, and the image for {}",
            machine(elf),
            image.platform
        );
        let reason = other_machine(path, elf);
        let severity = if reason.is_some() {
            Severity::Note
        } else {
            Severity::Fault
        };
        let hint = reason.map_or_else(
            || match image.owners.wheel_of(path) {
                Some(wheel) => format!(
                    "{} was built wrongly, or its file was replaced: take another version, or a wheel of your own",
                    wheel.name
                ),
                None => "put the file for this platform there".to_owned(),
            },
            |reason| format!("rule: {reason}"),
        );
        findings.push(
            image
                .finding(severity, Code::WrongArchitecture, path, message)
                .hint(hint),
        );
    }
    for package in &image.owners.packages {
        if package.ecosystem == Ecosystem::Python {
            tags(
                image,
                &package.metadata,
                native.contains(&package.metadata),
                findings,
            );
        }
    }
}

/// Why a file for another machine may be there.
fn other_machine(path: &str, elf: &Elf) -> Option<&'static str> {
    if DEVICES.contains(&elf.machine) {
        return Some(
            "code for a GPU or for the kernel's eBPF machine is not loaded by the processor",
        );
    }
    if elf.kind == ElfKind::Relocatable {
        return Some("an object file (ET_REL) is input of a linker, no loader sees it");
    }
    // Python looks for modules by such names, so they state what the file is for, not what it is.
    let is_module = name(path).contains(".cpython-") || name(path).ends_with(".abi3.so");
    let (_, inner) = path.split_once("-packages/").unwrap_or(("", path));
    let mut words = inner.split(['/', '.', '-', '_']).collect::<Vec<_>>();
    words.extend(inner.split(['/', '.', '-']));
    let says = words.iter().any(|word| NAMES.contains(word)) || inner.contains("x86_64");
    (says && !is_module).then_some(
        "its own path says that it is for another machine: packages carry such files for all",
    )
}

/// The wheel's tags fit the platform.
fn tags(image: &Image<'_>, metadata: &str, is_native: bool, findings: &mut Vec<Finding>) {
    let path = join(parent(metadata), "WHEEL");
    let Some(text) = image.contents.text(&path) else {
        return;
    };
    let tags: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("Tag:"))
        .map(str::trim)
        .collect();
    let platforms = || tags.iter().filter_map(|tag| tag.rsplit('-').next());
    let suffixes: &[&str] = match image.platform {
        Platform::Amd64 => &["_x86_64"],
        // Arm's servers, by the name that NVIDIA gives them.
        Platform::Arm64 => &["_aarch64", "_sbsa"],
        Platform::ArmV7 => &["_armv7l", "_armv6l"],
    };
    let fits = |tag: &str| tag == "any" || suffixes.iter().any(|suffix| tag.ends_with(suffix));
    let all = || tags.join(", ");
    if !tags.is_empty() && !platforms().flat_map(|tag| tag.split('.')).any(fits) {
        let message = format!(
            "has the tags {}, and the image is for {}",
            all(),
            image.platform
        );
        findings.push(
            image
                .finding(Severity::Fault, Code::WrongTag, &path, message)
                .hint("install the wheel for this platform"),
        );
    } else if is_native && !tags.is_empty() && platforms().all(|tag| tag == "any") {
        let message = format!(
            "has the tags {}, for any platform, and its wheel has native files",
            all()
        );
        findings.push(
            image
                .finding(Severity::Note, Code::WrongTag, &path, message)
                .hint("rule: files that fit are no fault; those that do not are told one by one"),
        );
    }
}
