//! `[system]` packages on images that are not ours, and the archives that packages come from.

use serde_json::{Value, json};
use testkit::{DebBuilder, DebianArchive, Fault, Registry, Run, elf};

use crate::bases::OnBase;
use crate::hand_made::{Member, put, put_alpine};
use crate::offline::{OFFLINE, VENDOR, cut_off};
use crate::project::{BUILD, Project, STANDARD, digest_of};

const BASE: &str = "hub/debian";

/// What the base has installed: name, version, and fields besides.
const INSTALLED: &str = "\
base-files 13.8
dpkg 1.22
libc6 2.41-12
libgcc-s1 14.2.0-19
gcc-14-base 14.2.0-19
python3.13-minimal 3.13.5-2
old-stable 1.0
";

/// dpkg's records as the base has them.
fn status(architecture: &str) -> String {
    let stanza = |line: &str| {
        let (name, version) = line.split_once(' ').unwrap();
        format!(
            "Package: {name}\nStatus: install ok installed\nMaintainer: A\nArchitecture: {architecture}\nMulti-Arch: same\nVersion: {version}\nDescription: x\n y\n"
        )
    };
    let removed =
        "Package: libgomp1\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n";
    let stanzas = INSTALLED.lines().map(stanza).chain([removed.to_owned()]);
    stanzas.collect::<Vec<_>>().join("\n")
}

/// An image as python:slim would be.
fn debian(architecture: &str, status: &str, os_release: &str) -> Vec<Member> {
    let triplet = testkit::multiarch(architecture);
    let mut libc = elf(architecture);
    libc.extend(b"GNU C Library (Debian GLIBC 2.41-12) stable");
    vec![
        Member::link("bin", "usr/bin"),
        Member::link("lib", "usr/lib"),
        Member::link("opt/shared", "/srv/shared"),
        Member::file("srv/shared/x", ""),
        Member::file("usr/lib/os-release", os_release),
        Member::link("etc/os-release", "../usr/lib/os-release"),
        Member::file("etc/kept.conf", "the image's"),
        Member::file("etc/passwd", "nonroot:x:65532:65532::/home:/bin/false\n"),
        Member::file(&format!("usr/lib/{triplet}/libc.so.6"), libc),
        Member::file("usr/bin/python3.13", elf(architecture)),
        Member::link("usr/bin/python3", "python3.13"),
        Member::file("var/lib/dpkg/status", status),
        Member::file("var/lib/dpkg/info/dpkg.list", "/.\n"),
    ]
}

const TRIXIE: &str = "ID=debian\nVERSION_ID=\"13\"\nVERSION_CODENAME=trixie\n";

/// A project on such an image, with packages of an archive.
struct OnDebian {
    project: Project,
    registry: Registry,
}

impl OnDebian {
    fn new() -> Self {
        let project = Project::standard();
        for architecture in ["amd64", "arm64"] {
            let triplet = testkit::multiarch(architecture);
            let library = DebBuilder::new("libextra1", "1.2-3", architecture)
                .field("Multi-Arch", "same")
                .depends("libgomp1, libc6 (>= 2.30), dpkg (>= 1.0)")
                .directory("lib", 0o755)
                .file(&format!("lib/{triplet}/libextra.so.1"), b"extra")
                .file("opt/shared/extra", b"behind a link")
                .file("etc/kept.conf", b"the package's")
                .file("etc/new.conf", b"the package's");
            project.archive.add(&library);
        }
        let on_debian = Self {
            project,
            registry: Registry::start(),
        };
        on_debian.put(TRIXIE, status);
        on_debian.configure("packages = [\"libextra1\"]", "");
        on_debian
    }

    fn put(&self, os_release: &str, status: impl Fn(&str) -> String) {
        put(&self.registry, BASE, |architecture| {
            debian(architecture, &status(architecture), os_release)
        });
    }

    /// With these lines of `[system]` and of `[debian]`.
    fn configure(&self, system: &str, debian: &str) {
        let base = self.registry.reference(&format!("{BASE}:1"));
        let text = STANDARD.replace("debian:trixie", &base);
        self.project
            .configure(&format!("{text}\n[system]\n{system}\n"));
        let text = self.project.context.read("oxcart.toml");
        self.project
            .context
            .write("oxcart.toml", format!("{text}{debian}\n"));
    }

    /// The lock for what is configured cannot be made.
    #[track_caller]
    fn refused(&self, says: &[&str]) -> Run {
        refused(&self.project, says)
    }

    /// The Debian packages of the lock for arm64, each with its version.
    fn locked(&self) -> Vec<String> {
        locked(&self.project)
    }
}

#[track_caller]
fn refused(project: &Project, says: &[&str]) -> Run {
    let _ = std::fs::remove_dir_all(project.context.path("image"));
    let run = project.context.fails(BUILD);
    run.says(says).says(&["hint:"]);
    assert!(!run.stderr.contains("panicked"), "{}", run.account());
    project.assert_nothing_half_written();
    run
}

fn locked(project: &Project) -> Vec<String> {
    let lock: toml::Value = toml::from_str(&project.context.read("oxcart.lock")).unwrap();
    let debs = lock["platform"][1]
        .get("deb")
        .and_then(toml::Value::as_array);
    let show = |it: &toml::Value| {
        let text = |key: &str| it[key].as_str().unwrap();
        format!("{} {} {}", text("name"), text("version"), text("archive"))
    };
    debs.into_iter().flatten().map(show).collect()
}

#[test]
fn packages_are_added_to_an_image_with_dpkg() {
    let on_debian = OnDebian::new();
    let project = &on_debian.project;
    let document = project.build_with_metadata(&[]);
    assert_eq!(
        on_debian.locked(),
        ["libextra1 1.2-3 debian", "libgomp1 14.2.0-19 debian"]
    );
    let layers = document["platforms"]["linux/arm64"]["layers"]
        .as_array()
        .unwrap();
    let system = layers.iter().find(|it| it["kind"] == "system").unwrap();
    assert_eq!(
        system["members"],
        json!(["libextra1 1.2-3", "libgomp1 14.2.0-19"])
    );
    for (platform, architecture) in [("linux/amd64", "amd64"), ("linux/arm64", "arm64")] {
        let image = Image::open(project, platform);
        let triplet = testkit::multiarch(architecture);
        assert!(image.has(&format!("usr/lib/{triplet}/libextra.so.1")));
        assert!(image.has(&format!("usr/lib/{triplet}/libgomp.so.1.0.0")));
        assert_eq!(
            image.file("lib").link.as_deref(),
            Some("usr/lib"),
            "it is a link yet"
        );
        assert!(image.has("srv/shared/extra") && !image.has("opt/shared/extra"));
        assert_eq!(image.text("etc/kept.conf"), "the image's");
        assert_eq!(image.text("etc/new.conf"), "the package's");
        let records = image.text("var/lib/dpkg/status");
        assert!(
            records.starts_with(status(architecture).trim_end()),
            "{records}"
        );
        for name in ["libextra1", "libgomp1"] {
            let stanza = format!("\nPackage: {name}\nStatus: install ok installed\nVersion: 1");
            assert!(records.contains(&stanza), "{records}");
            let list = image.text(&format!("var/lib/dpkg/info/{name}:{architecture}.list"));
            assert!(
                list.starts_with("/.\n") && list.contains("/usr/lib/"),
                "{list}"
            );
            assert!(image.has(&format!("var/lib/dpkg/info/{name}:{architecture}.md5sums")));
        }
        assert!(!image.has("var/lib/dpkg/status.d/libgomp1"));
    }
    // The plan and `inspect` tell of them as they do over our own base.
    let plan = project.context.succeeds(["plan", "--json"]);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan[1]["layers"][0]["members"], system["members"]);
    let shown = project.context.succeeds(["inspect", "oci:image"]);
    assert!(
        shown.stdout.contains("system: 2 Debian packages"),
        "{}",
        shown.account()
    );
}

/// The files of an image, the base's own layer uncompressed.
struct Image;

impl Image {
    fn open(project: &Project, platform: &str) -> crate::project::Image {
        crate::project::Image::open(&project.context.path("image"), platform)
    }
}

#[test]
fn packages_are_added_to_an_image_without_dpkg() {
    let on_base = OnBase::new();
    let project = &on_base.project;
    // What the base leaves out is not brought in, but its libraries are.
    for architecture in ["amd64", "arm64"] {
        let library = DebBuilder::new("libextra1", "1.2-3", architecture)
            .depends("libgomp1, debconf (>= 0.5) | debconf-2.0, libc6 (>= 2.30)")
            .file("usr/lib/libextra.so.1", b"extra");
        project.archive.add(&library);
    }
    let text = project.context.read("oxcart.toml");
    let system = "[system]\npackages = [\"libextra1\", \"tzdata\"]\n";
    project
        .context
        .write("oxcart.toml", format!("{text}\n{system}"));
    let run = project.context.succeeds(BUILD);
    run.says(&["arm64: the base has tzdata 2025b-4+deb13u1 already"]);
    assert_eq!(
        locked(project),
        ["libextra1 1.2-3 debian", "libgomp1 14.2.0-19 debian"]
    );
    let image = project.image("linux/arm64");
    for name in ["libextra1", "libgomp1", "libc6"] {
        let record = image.text(&format!("var/lib/dpkg/status.d/{name}"));
        assert!(
            record.starts_with(&format!("Package: {name}\n")),
            "{record}"
        );
    }
    assert!(!image.has("var/lib/dpkg/status"));
}

#[test]
fn the_python_may_come_with_the_packages() {
    let on_debian = OnDebian::new();
    let project = &on_debian.project;
    put(&on_debian.registry, BASE, |architecture| {
        let status = status(architecture).replace("python3.13-minimal", "something-else");
        let mut members = debian(architecture, &status, TRIXIE);
        members.retain(|it| !it.is_below("usr/bin"));
        members
    });
    on_debian.configure("packages = [\"libgomp1\"]", "");
    on_debian.refused(&["has no Python, and there are dependencies to install"]);
    on_debian.configure("packages = [\"python3.13\"]", "");
    project.build(&[]);
    let lock = project.context.read("oxcart.lock");
    for part in [
        "version = \"3.13.5\"",
        "interpreter = \"/usr/bin/python3.13\"",
        "libc = \"glibc 2.41\"",
    ] {
        assert!(lock.contains(part), "{lock}");
    }
    let image = project.image("linux/arm64");
    assert_eq!(
        image.file("opt/venv/bin/python").link.as_deref(),
        Some("/usr/bin/python3.13")
    );
}

#[test]
fn the_layer_depends_on_the_base_and_on_nothing_else() {
    let mut on_debian = OnDebian::new();
    let first = on_debian.project.build(&[]);
    // Another store: the lock and the base tell all.
    let store = on_debian.project.context.root().join("another");
    on_debian.project.context.use_store(store);
    assert_eq!(on_debian.project.build(&["--locked"]), first);
    assert_eq!(on_debian.project.build(&["--locked", "--no-cache"]), first);
    let reused = on_debian.project.build_with_metadata(&["--locked"]);
    let layers = reused["platforms"]["linux/arm64"]["layers"]
        .as_array()
        .unwrap();
    let system = layers.iter().find(|it| it["kind"] == "system").unwrap();
    assert_eq!(system["state"], "stored");
}

#[test]
fn without_a_network() {
    let on_debian = OnDebian::new();
    let online = on_debian.project.build(&[]);
    let project = &on_debian.project;
    let store = project.context.root().join("fresh");
    let mut on_debian = on_debian;
    on_debian.project.context.use_store(store);
    on_debian.project.context.succeeds(VENDOR);
    let OnDebian { project, registry } = on_debian;
    drop(registry);
    let context = cut_off(project);
    let run = context.fails(["build", "--offline", "--output", "oci:offline"]);
    run.says(&[
        "base-linux-arm64-dpkg.json sha256:",
        "libgomp1_14.2.0-19_arm64.deb sha256:",
    ]);
    assert_eq!(digest_of(&context.succeeds(OFFLINE)), online);
}

#[test]
fn a_base_on_disk_without_a_network() {
    let on_debian = OnDebian::new();
    let project = &on_debian.project;
    let base = on_debian.registry.reference(&format!("{BASE}:1"));
    let status = std::process::Command::new("skopeo")
        .args([
            "copy",
            "--quiet",
            "--all",
            "--format=oci",
            "--src-tls-verify=false",
        ])
        .args([format!("docker://{base}"), "oci:base:1".to_owned()])
        .current_dir(project.context.project())
        .status()
        .expect("skopeo");
    assert!(status.success());
    let text = project
        .context
        .read("oxcart.toml")
        .replace(&base, "oci:base:1");
    project.context.write("oxcart.toml", text);
    let online = project.build(&[]);
    project.context.succeeds(VENDOR);
    let OnDebian { project, registry } = on_debian;
    drop(registry);
    assert_eq!(digest_of(&cut_off(project).succeeds(OFFLINE)), online);
}

#[test]
fn what_another_lock_would_change() {
    let on_debian = OnDebian::new();
    let project = &on_debian.project;
    project.context.succeeds(["lock"]);
    let lock = project.context.read("oxcart.lock");
    assert!(lock.contains("date = \"20251101T000000Z\""), "{lock}");
    project.context.succeeds(["lock", "--check"]);
    on_debian.configure("packages = [\"libffi8\"]", "");
    let run = project.context.fails(["lock", "--check"]);
    for line in ["+ libffi8 (Debian) 3.4.8-2", "- libextra1 (Debian) 1.2-3"] {
        assert!(run.stdout.contains(line), "{}", run.account());
    }
}

#[test]
fn bases_that_take_no_debian_packages() {
    let on_debian = OnDebian::new();
    let (project, registry) = (&on_debian.project, &on_debian.registry);
    put_alpine(registry, "library/alpine");
    put(registry, "library/fedora", |architecture| {
        vec![
            Member::file("etc/os-release", "ID=fedora\n"),
            Member::file("usr/bin/python3.13", elf(architecture)),
        ]
    });
    put(registry, "library/busybox", |_| {
        vec![Member::file("bin/busybox", "")]
    });
    let system = "\n[system]\npackages = [\"libgomp1\"]\n";
    for (name, says) in [
        (
            "alpine",
            &["library/alpine:1: it is Alpine", "python:3.13-slim"][..],
        ),
        (
            "fedora",
            &["library/fedora:1: it is fedora, and has no records"],
        ),
        (
            "busybox",
            &["library/busybox:1: it has no records of Debian packages (/var/lib/dpkg)"],
        ),
    ] {
        let base = registry.reference(&format!("library/{name}:1"));
        project.configure(&format!(
            "{}{system}",
            STANDARD.replace("debian:trixie", &base)
        ));
        refused(project, says);
    }
    project.configure(&format!(
        "{}{system}",
        STANDARD.replace("debian:trixie", "scratch")
    ));
    refused(project, &["`libgomp1` cannot be added to nothing"]);
}

#[test]
fn records_that_are_broken() {
    let on_debian = OnDebian::new();
    on_debian.put(TRIXIE, |architecture| {
        format!("{}\nPackage libx\n", status(architecture))
    });
    let lines = status("amd64").lines().count();
    let line = format!(
        "/var/lib/dpkg/status, line {}: expected `Name: value`",
        lines + 2
    );
    on_debian.refused(&[
        "the records of the base",
        "hub/debian:1 cannot be read",
        &line,
    ]);
    on_debian.put(TRIXIE, |_| {
        "Package: libx\nStatus: install ok installed\n".to_owned()
    });
    on_debian.refused(&["/var/lib/dpkg/status, line 1: the stanza has no field `Version`"]);
}

#[test]
fn a_base_that_does_not_tell_its_release() {
    let on_debian = OnDebian::new();
    on_debian.put("ID=debian\n", status);
    on_debian.refused(&["has no VERSION_CODENAME", "[debian] suite"]);
    on_debian.configure("packages = [\"libextra1\"]", "suite = \"trixie\"");
    on_debian.project.build(&[]);
    on_debian.configure("packages = [\"libextra1\"]", "suite = \"sarge\"");
    on_debian.refused(&[
        "the archive `debian` cannot be read",
        "dists/sarge/InRelease",
    ]);
}

#[test]
fn packages_that_cannot_be_chosen() {
    let on_debian = OnDebian::new();
    let project = &on_debian.project;
    let deb = |name: &str| DebBuilder::new(name, "1.0", "all");
    project
        .archive
        .add(&deb("left").field("Conflicts", "right"));
    project.archive.add(&deb("right"));
    project
        .archive
        .add(&deb("newcomer").field("Breaks", "old-stable (<< 2)"));
    project
        .archive
        .add(&deb("mta-one").field("Provides", "mail-agent"));
    project
        .archive
        .add(&deb("mta-two").field("Provides", "mail-agent"));
    project
        .archive
        .add(&deb("only-one").field("Provides", "single"));
    project.archive.add(&deb("demanding").depends("middle"));
    project
        .archive
        .add(&deb("middle").depends("old-stable (>= 1.5)"));
    project
        .archive
        .add(&DebBuilder::new("old-stable", "2.0", "all"));
    let check = |packages: &str, says: &[&str]| {
        on_debian.configure(&format!("packages = [{packages}]"), "");
        on_debian.refused(says);
    };
    check(
        "\"libgomp\"",
        &[
            "libgomp: no package has or provides this name",
            "did you mean `libgomp1`?",
        ],
    );
    check("\"libextar1\"", &["did you mean `libextra1`?"]);
    check("\"zzzzzzzz\"", &["check the spelling"]);
    check(
        "\"left\", \"right\"",
        &["left 1.0 conflicts with right, which right 1.0 is"],
    );
    check(
        "\"newcomer\"",
        &["newcomer 1.0 breaks old-stable (<< 2), which old-stable 1.0 is"],
    );
    check(
        "\"mail-agent\"",
        &[
            "mail-agent is no package, but provided by several: mta-one, mta-two",
            "name the one",
        ],
    );
    check(
        "\"demanding\"",
        &[
            "cannot install demanding",
            "demanding 1.0 depends on middle",
            "middle 1.0 depends on old-stable (>= 1.5)",
            "the base has old-stable 1.0, which is not replaced",
            "take a newer build of the base",
        ],
    );
    check("\"not a name!\"", &["`not a name!` is no Debian package"]);
    on_debian.configure("packages = [\"single\", \"mta-one\"]", "");
    project.build(&[]);
    assert_eq!(
        on_debian.locked(),
        ["mta-one 1.0 debian", "only-one 1.0 debian"]
    );
}

/// Builds with a package that is not what it should be, over the image.
fn check_deb(deb: &DebBuilder, says: &[&str]) {
    let on_debian = OnDebian::new();
    on_debian.project.archive.add(deb);
    on_debian.configure("packages = [\"broken\"]", "");
    on_debian.refused(says);
    on_debian.configure("packages = [\"libgomp1\"]", "");
    on_debian.project.build(&[]);
}

#[test]
fn debs_that_are_not_what_they_should_be() {
    let deb = || DebBuilder::new("broken", "1.0", "all").file("usr/share/x", &[7; 4000]);
    let half = deb().build().len() / 2;
    check_deb(&deb().truncated(half), &["broken_1.0_all.deb is cut off"]);
    check_deb(
        &deb().file("../../etc/passwd", b""),
        &["broken_1.0_all.deb", "`..` component"],
    );
    check_deb(
        &deb().hardlink("usr/a", "../../etc/shadow"),
        &[
            "broken_1.0_all.deb",
            "which is no earlier file of the package",
        ],
    );
    let on_debian = OnDebian::new();
    on_debian.project.archive.wrong_deb_bytes("libgomp1");
    on_debian.refused(&["64.deb does not have its sha256", "expected sha256:"]);
}

#[test]
fn a_package_that_the_archive_dropped() {
    let mut on_debian = OnDebian::new();
    on_debian.project.context.succeeds(["lock"]);
    let store = on_debian.project.context.root().join("another");
    on_debian.project.context.use_store(store);
    let project = &on_debian.project;
    project.archive.fault("*/libgomp1_*", Fault::Status(404));
    let run = project.context.fails(BUILD);
    run.says(&[
        "libgomp1 14.2.0-19 is locked, and the archive `debian` has it no longer",
        "libgomp1_14.2.0-19_a",
        "404",
        "has it at 20251101T000000Z: name it as [debian] mirror, with accept-expired = true",
    ]);
    project.assert_nothing_half_written();
    project.archive.clear_faults();
    project.build(&["--locked"]);
}

#[test]
fn a_mirror_without_files_by_hash_and_past_its_date() {
    let on_debian = OnDebian::new();
    let project = &on_debian.project;
    project.archive.valid_until("Sat, 08 Nov 2025 00:00:00 UTC");
    project.archive.fault("*/by-hash/*", Fault::Status(404));
    on_debian.refused(&["was valid until", "accept-expired"]);
    on_debian.configure("packages = [\"libextra1\"]", "accept-expired = true");
    project.build(&[]);
}

/// An archive of somebody else's beside Debian's.
fn foreign(on_debian: &OnDebian) -> DebianArchive {
    let foreign = DebianArchive::foreign();
    for (name, version) in [("libgomp1", "13.0"), ("tool", "7"), ("helper", "1")] {
        let deb = DebBuilder::new(name, version, "all").file(&format!("opt/{name}"), b"foreign");
        foreign.add(&deb);
    }
    on_debian
        .project
        .context
        .write("foreign.asc", foreign.keyring());
    foreign
}

fn repository(url: &str, more: &str) -> String {
    format!(
        "\n[[debian.repository]]\nname = \"foreign\"\nurl = \"{url}\"\nkeyring = \"foreign.asc\"\n{more}\n"
    )
}

#[test]
fn packages_of_another_repository() {
    let on_debian = OnDebian::new();
    let project = &on_debian.project;
    let foreign = foreign(&on_debian);
    let packages = "packages = [\"tool\", \"libgomp1\"]";
    let check = |more: &str, expect: [&str; 2]| {
        on_debian.configure(packages, &repository(&foreign.mirror(), more));
        project.build(&[]);
        assert_eq!(on_debian.locked(), expect, "{more}");
    };
    let suite = "suite = \"trixie\"\n";
    check(suite, ["libgomp1 14.2.0-19 debian", "tool 7 foreign"]);
    check(
        &format!("{suite}packages = [\"libgomp1\"]"),
        ["libgomp1 13.0 foreign", "tool 7 foreign"],
    );
    let image = Image::open(project, "linux/arm64");
    assert!(image.has("opt/tool") && image.has("opt/libgomp1"));
    on_debian.configure(packages, &repository(&foreign.flat(), "suite = \"./\""));
    foreign.fault("*/pool/*", Fault::Status(404));
    // The pool of this one is elsewhere; what it lists is locked all the same.
    project.context.succeeds(["lock"]);
    assert_eq!(
        on_debian.locked(),
        ["libgomp1 14.2.0-19 debian", "tool 7 foreign"]
    );
    let lock = project.context.read("oxcart.lock");
    assert!(
        lock.contains("name = \"foreign\"\nmirror = \"http://127.0.0.1:"),
        "{lock}"
    );
}

#[test]
fn a_version_that_is_pinned() {
    let on_debian = OnDebian::new();
    let project = &on_debian.project;
    for architecture in ["amd64", "arm64"] {
        let update = DebBuilder::new("libgomp1", "14.2.0-20", architecture);
        project.archive.add_to("trixie-security", &update);
    }
    let packages = "packages = [\"libgomp1\"]";
    on_debian.configure(packages, "");
    project.build(&[]);
    assert_eq!(on_debian.locked(), ["libgomp1 14.2.0-20 debian-security"]);
    on_debian.configure(packages, "pin = { libgomp1 = \"14.2.0-19\" }");
    project
        .context
        .fails(["build", "--locked"])
        .says(&["is not up to date"]);
    project.build(&[]);
    assert_eq!(on_debian.locked(), ["libgomp1 14.2.0-19 debian"]);
    on_debian.configure(packages, "pin = { libgomp1 = \"13\" }");
    on_debian.refused(&[
        "no archive has libgomp1 13; there is 14.2.0-19 in debian, 14.2.0-20 in debian-security",
        "Debian's snapshot archive",
    ]);
}

#[test]
fn repositories_that_cannot_be_used() {
    let on_debian = OnDebian::new();
    let foreign = foreign(&on_debian);
    let url = foreign.mirror();
    let check = |debian: &str, says: &[&str]| {
        on_debian.configure("packages = [\"tool\"]", debian);
        on_debian.refused(says);
    };
    let suite = "suite = \"trixie\"\n";
    check(
        &repository(&url, suite).replace("keyring = \"foreign.asc\"\n", ""),
        &["InRelease is not to be trusted", "is not in the keyring"],
    );
    check(
        &repository(&url, suite).replace("foreign.asc", "foriegn.asc"),
        &[
            "[[debian.repository]] `foreign`: the keyring",
            "does not exist",
        ],
    );
    check(
        &repository("ftp.example/debian", suite),
        &["`ftp.example/debian` is no URL of an archive"],
    );
    check(
        &repository(&url, "suite = \"sid\""),
        &[
            "the archive `foreign` cannot be read",
            "dists/sid/InRelease",
        ],
    );
    check(
        &repository(&url, &format!("{suite}components = [\"contrib\"]")),
        &["has no packages for amd64 in the component contrib"],
    );
    check(
        &repository(&url, &format!("{suite}packages = [\"toll\"]")),
        &["foreign has no package toll"],
    );
    check(
        &repository(&url, "suite = \"./\"\ncomponents = [\"main\"]"),
        &["is a directory, and has no components"],
    );
    let twice = repository(&url, suite).repeat(2);
    check(&twice, &["[[debian.repository]] `foreign` is there twice"]);
    check(
        &repository(&url, suite).replace("name = \"foreign\"", "name = \"debian\""),
        &["[[debian.repository]] name is `debian`"],
    );
    check("components = []", &["[debian] components"]);
    check(
        "components = [\"main\", \"con trib\"]",
        &["`con trib` is no component"],
    );
    check(
        "components = [\"universe\"]",
        &["has no packages for amd64 in the component universe"],
    );
    check(
        "pin = { libgomp1 = \"1 2\" }",
        &["[debian] pin: `libgomp1` has version `1 2`"],
    );
    check(
        "pin = { \"two words\" = \"1\" }",
        &["[debian] pin: `two words` is no package name"],
    );
    check("suite = \"a b\"", &["[debian] suite is `a b`"]);
    check("mirorr = \"x\"", &["did you mean `mirror`?"]);
}

#[test]
fn a_platform_may_have_a_mirror_of_its_own() {
    let on_debian = OnDebian::new();
    let project = &on_debian.project;
    let other = DebianArchive::minimal();
    let text = project
        .context
        .read("oxcart.toml")
        .replace("libextra1", "libgomp1");
    let own = format!(
        "\n[platform.\"linux/arm64\".debian]\nmirror = \"{}\"\n",
        other.mirror()
    );
    project.context.write("oxcart.toml", text + &own);
    project.build(&[]);
    let is_pool = |it: &testkit::Served, name: &str| it.path.ends_with(name);
    assert!(
        other
            .served()
            .iter()
            .any(|it| is_pool(it, "libgomp1_14.2.0-19_arm64.deb"))
    );
    assert!(!other.served().iter().any(|it| is_pool(it, "_amd64.deb")));
    assert!(
        !project
            .archive
            .served()
            .iter()
            .any(|it| is_pool(it, "_arm64.deb"))
    );
}

#[test]
fn a_third_platform() {
    let project = Project::standard();
    project.configure(&format!(
        "{}\n[system]\npackages = [\"libgomp1\"]\n",
        STANDARD.replace("\"linux/arm64\"", "\"linux/arm/v7\"")
    ));
    project.build(&[]);
    let image = project.image("linux/arm/v7");
    assert!(image.has("usr/lib/arm-linux-gnueabihf/libgomp.so.1.0.0"));
}

#[test]
fn ubuntu_where_a_mirror_is_stated() {
    let on_debian = OnDebian::new();
    let project = &on_debian.project;
    on_debian.put("ID=ubuntu\nVERSION_CODENAME=noble\n", status);
    for (suite, version) in [
        ("noble", "1"),
        ("noble-updates", "2"),
        ("noble-security", "3"),
    ] {
        let deb = DebBuilder::new("libfoo1", version, "all").file("usr/lib/libfoo.so.1", b"");
        project.archive.add_to(suite, &deb);
    }
    on_debian.configure("packages = [\"libfoo1\"]", "");
    project.build(&[]);
    assert_eq!(on_debian.locked(), ["libfoo1 3 ubuntu"]);
    let text = project.context.read("oxcart.toml");
    let without: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("mirror = "))
        .collect();
    project.context.write("oxcart.toml", without.join("\n"));
    std::fs::remove_file(project.context.path("oxcart.lock")).unwrap();
    on_debian.refused(&[
        "no mirror of the archive `ubuntu` is known",
        "set [debian] mirror",
    ]);
}
