//! A made-up image in which everything is right, and what is found when one thing is wrong in it. Each test is
//! named after the fault.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contents::Contents;
use oci::Platform;
use testkit::{ElfBuilder, multiarch};

use crate::{Code, Config, Finding, Report, Severity, check};

const SITE: &str = "opt/venv/lib/python3.13/site-packages";

/// What is at a path.
enum Node {
    File(u32, Vec<u8>),
    Link(String),
}

/// An image under construction.
struct Image {
    architecture: &'static str,
    nodes: BTreeMap<String, Node>,
    config: Config,
}

impl Image {
    /// Debian with Python, an environment with two packages, and a command.
    fn good(architecture: &'static str) -> Self {
        let mut image = Self {
            architecture,
            nodes: BTreeMap::new(),
            config: Config {
                env: vec!["PATH=/opt/venv/bin:/usr/bin".to_owned()],
                entrypoint: vec!["demo".to_owned()],
                user: "app:app".to_owned(),
                working_dir: "/app".to_owned(),
                ..Config::default()
            },
        };
        let lib = format!("usr/lib/{}", multiarch(architecture));
        let loader = loader(architecture);
        let elf = || ElfBuilder::new(architecture);
        image.link("lib", "usr/lib").link("lib64", "usr/lib");
        image.link(
            &format!("usr/lib/{}", name(loader)),
            &format!("{}/{}", multiarch(architecture), name(loader)),
        );
        image.file(
            &format!("{lib}/{}", name(loader)),
            elf().soname(name(loader)).build(),
        );
        let libc = elf()
            .soname("libc.so.6")
            .defines(&["GLIBC_2.17", "GLIBC_2.34", "GLIBC_2.41"]);
        image.file(&format!("{lib}/libc.so.6"), libc.build());
        let cxx = elf()
            .soname("libstdc++.so.6")
            .defines(&["GLIBCXX_3.4", "GLIBCXX_3.4.30"]);
        image.file(&format!("{lib}/libstdc++.so.6"), cxx.build());
        let python = elf()
            .interpreter(loader)
            .needs("libc.so.6", &["GLIBC_2.34"]);
        image.program("usr/bin/python3.13", python.build());
        image.text(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/app:/bin/false\n",
        );
        image.text("etc/group", "root:x:0:\napp:x:1000:\n");
        image.text("opt/venv/pyvenv.cfg", "home = /usr/bin\nversion = 3.13.5\n");
        image.link("opt/venv/bin/python", "/usr/bin/python3.13");
        image.link("opt/venv/bin/python3", "python");
        image.program("opt/venv/bin/demo", "#!/opt/venv/bin/python\n");
        image.wheel(
            "demo",
            "Requires-Dist: native>=2\nRequires-Dist: winonly ; sys_platform == 'win32'\nRequires-Dist: extra ; extra == 'more'\n",
            "py3-none-any",
            &[("demo/__init__.py", b""), ("../../../bin/demo", b"")],
        );
        image.text(
            &format!("{SITE}/demo-1.0.dist-info/entry_points.txt"),
            "[console_scripts]\ndemo = demo:main\n",
        );
        let module = elf()
            .runpath("$ORIGIN/../native.libs")
            .needed("libinner.so.1")
            .needs("libc.so.6", &["GLIBC_2.17"]);
        let inner = elf()
            .soname("libinner.so.1")
            .needs("libstdc++.so.6", &["GLIBCXX_3.4"]);
        let tag = format!("cp313-cp313-manylinux_2_17_{}", machine(architecture));
        image.wheel(
            "native",
            "",
            &tag,
            &[
                ("native/_native.cpython-313.so", &module.build()),
                ("native.libs/libinner.so.1", &inner.build()),
            ],
        );
        image.text("app/main.py", "");
        image
    }

    fn file(&mut self, path: &str, bytes: Vec<u8>) -> &mut Self {
        self.nodes.insert(path.to_owned(), Node::File(0o644, bytes));
        self
    }

    fn program(&mut self, path: &str, bytes: impl Into<Vec<u8>>) -> &mut Self {
        self.nodes
            .insert(path.to_owned(), Node::File(0o755, bytes.into()));
        self
    }

    fn text(&mut self, path: &str, text: &str) -> &mut Self {
        self.file(path, text.as_bytes().to_vec())
    }

    fn link(&mut self, path: &str, target: &str) -> &mut Self {
        self.nodes
            .insert(path.to_owned(), Node::Link(target.to_owned()));
        self
    }

    /// A wheel of version 1.0 (of `native`, 2.0), with its RECORD. A file without bytes is there otherwise.
    fn wheel(
        &mut self,
        name: &str,
        metadata: &str,
        tag: &str,
        files: &[(&str, &[u8])],
    ) -> &mut Self {
        let version = if name == "native" { "2.0" } else { "1.0" };
        let info = format!("{name}-{version}.dist-info");
        let mut record = format!("{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n");
        for (path, bytes) in files {
            let hash = URL_SAFE_NO_PAD.encode(oci::Digest::of(bytes).as_bytes());
            writeln!(record, "{path},sha256={hash},").unwrap();
            if !path.starts_with("..") {
                self.file(&format!("{SITE}/{path}"), bytes.to_vec());
            }
        }
        self.text(
            &format!("{SITE}/{info}/METADATA"),
            &format!("Name: {name}\nVersion: {version}\n{metadata}"),
        );
        self.text(
            &format!("{SITE}/{info}/WHEEL"),
            &format!("Wheel-Version: 1.0\nTag: {tag}\n"),
        );
        self.text(&format!("{SITE}/{info}/RECORD"), &record)
    }

    /// Changes the module of `native`.
    fn module(&mut self, module: &ElfBuilder) -> &mut Self {
        self.file(
            &format!("{SITE}/native/_native.cpython-313.so"),
            module.build(),
        )
    }

    fn check(&self) -> Report {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, node) in &self.nodes {
            let mut header = tar::Header::new_ustar();
            match node {
                Node::File(mode, bytes) => {
                    header.set_mode(*mode);
                    header.set_size(bytes.len() as u64);
                    tar.append_data(&mut header, path, &bytes[..]).unwrap();
                }
                Node::Link(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_mode(0o777);
                    header.set_size(0);
                    tar.append_link(&mut header, path, target).unwrap();
                }
            }
        }
        let tar = tar.into_inner().unwrap();
        let listing = contents::list(
            "application/vnd.oci.image.layer.v1.tar",
            &tar[..],
            contents::Options::default(),
        );
        let contents = Contents::new(&[Arc::new(listing.unwrap())]);
        let platform = match self.architecture {
            "amd64" => Platform::Amd64,
            "arm64" => Platform::Arm64,
            _ => Platform::ArmV7,
        };
        check(&contents, &self.config, platform)
    }

    /// The only finding, which is a fault.
    fn fault(&self, code: Code) -> Finding {
        self.only(Severity::Fault, code)
    }

    fn only(&self, severity: Severity, code: Code) -> Finding {
        let report = self.check();
        assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
        let finding = report.findings[0].clone();
        assert_eq!(
            (finding.severity, finding.code),
            (severity, code),
            "{finding:#?}"
        );
        finding
    }
}

fn loader(architecture: &str) -> &'static str {
    match architecture {
        "amd64" => "/lib64/ld-linux-x86-64.so.2",
        "arm64" => "/lib/ld-linux-aarch64.so.1",
        _ => "/lib/ld-linux-armhf.so.3",
    }
}

fn machine(architecture: &str) -> &'static str {
    match architecture {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        _ => "armv7l",
    }
}

fn name(path: &str) -> &str {
    facts::path::name(path)
}

fn says(finding: &Finding, texts: &[&str]) {
    let all = format!(
        "{} {} {}",
        finding.path,
        finding.message,
        finding.hint.as_deref().unwrap_or_default()
    );
    for text in texts {
        assert!(all.contains(text), "`{text}` is not in: {all}");
    }
}

#[test]
fn an_image_in_which_everything_is_right() {
    for architecture in ["amd64", "arm64", "armhf"] {
        let report = Image::good(architecture).check();
        assert_eq!(report.findings, [], "{architecture}");
        let proven = report.proven;
        assert_eq!(proven.elf_files, 6, "{proven:?}");
        assert_eq!((proven.libraries, proven.versions), (4, 3), "{proven:?}");
        assert_eq!((proven.packages, proven.requirements), (2, 1), "{proven:?}");
        assert_eq!((proven.scripts, proven.entry_points), (1, 2), "{proven:?}");
    }
}

#[test]
fn an_amd64_library_in_an_arm64_image() {
    let mut image = Image::good("arm64");
    image.module(&ElfBuilder::new("amd64"));
    let finding = image.fault(Code::WrongArchitecture);
    says(
        &finding,
        &["/native/_native.cpython-313.so", "x86-64", "linux/arm64"],
    );
    assert_eq!(finding.owner.as_deref(), Some("native 2.0"));
}

#[test]
fn a_module_that_is_named_for_another_machine_is_a_fault_and_a_carried_file_is_not() {
    let mut image = Image::good("arm64");
    let foreign = ElfBuilder::new("amd64").build();
    image.file(
        &format!("{SITE}/native/attach_linux_amd64.so"),
        foreign.clone(),
    );
    image.only(Severity::Note, Code::WrongArchitecture);
    image
        .nodes
        .remove(&format!("{SITE}/native/attach_linux_amd64.so"));
    image.file(
        &format!("{SITE}/native/_x.cpython-313-x86_64-linux-gnu.so"),
        foreign,
    );
    image.fault(Code::WrongArchitecture);
}

#[test]
fn a_library_with_software_floating_point() {
    let mut image = Image::good("armhf");
    let mut soft = ElfBuilder::new("armhf").build();
    soft[36..40].copy_from_slice(&0x0500_0200_u32.to_le_bytes());
    image.file(&format!("{SITE}/native/soft.so"), soft);
    says(
        &image.fault(Code::WrongArchitecture),
        &["software floating point"],
    );
}

#[test]
fn a_wheel_for_another_platform() {
    let mut image = Image::good("arm64");
    let path = format!("{SITE}/native-2.0.dist-info/WHEEL");
    image.text(&path, "Tag: cp313-cp313-manylinux_2_17_x86_64\n");
    says(&image.fault(Code::WrongTag), &["manylinux_2_17_x86_64"]);
    image.text(&path, "Tag: py3-none-any\n");
    image.only(Severity::Note, Code::WrongTag);
}

#[test]
fn a_wheel_for_arms_servers() {
    let mut image = Image::good("arm64");
    image.wheel("nvidia-library", "1.0", "py3-none-manylinux2014_sbsa", &[]);
    assert_eq!(image.check().findings, []);
}

#[test]
fn a_musl_wheel_on_glibc() {
    let mut image = Image::good("arm64");
    image.module(&ElfBuilder::new("arm64").needed("libc.musl-aarch64.so.1"));
    let finding = image.fault(Code::WrongLibc);
    says(&finding, &["built for musl", "has glibc", "manylinux"]);
}

/// The same image on Alpine.
fn alpine() -> Image {
    let mut image = Image::good("arm64");
    image
        .nodes
        .retain(|path, _| !path.starts_with("usr/lib/") && path != "lib" && path != "lib64");
    let elf = || ElfBuilder::new("arm64");
    let libc = "libc.musl-aarch64.so.1";
    image.file("lib/ld-musl-aarch64.so.1", elf().soname(libc).build());
    image.link(&format!("lib/{libc}"), "ld-musl-aarch64.so.1");
    image.file(
        "usr/lib/libstdc++.so.6",
        elf().soname("libstdc++.so.6").needed(libc).build(),
    );
    image.program(
        "usr/bin/python3.13",
        elf()
            .interpreter("/lib/ld-musl-aarch64.so.1")
            .needed(libc)
            .build(),
    );
    image.module(
        &elf()
            .rpath("$ORIGIN/../native.libs")
            .needed("libinner.so.1")
            .needed(libc),
    );
    image.file(
        &format!("{SITE}/native.libs/libinner.so.1"),
        elf().needed("libstdc++.so.6").needed(libc).build(),
    );
    image
}

#[test]
fn a_manylinux_wheel_on_musl() {
    let mut image = alpine();
    assert_eq!(image.check().findings, []);
    image.module(&ElfBuilder::new("arm64").needs("libc.so.6", &["GLIBC_2.17"]));
    says(
        &image.fault(Code::WrongLibc),
        &["built for glibc", "has musl", "musllinux"],
    );
}

#[test]
fn musl_has_its_own_list_of_directories() {
    let mut image = alpine();
    image.file("opt/lib/libown.so.1", ElfBuilder::new("arm64").build());
    image.module(
        &ElfBuilder::new("arm64")
            .needed("libown.so.1")
            .needed("libc.musl-aarch64.so.1"),
    );
    image.fault(Code::MissingLibrary);
    image.text("etc/ld-musl-aarch64.path", "/lib\n/usr/lib\n/opt/lib\n");
    assert_eq!(image.check().findings, []);
}

#[test]
fn a_missing_libgomp() {
    let mut image = Image::good("arm64");
    image.module(&ElfBuilder::new("arm64").needed("libgomp.so.1"));
    let finding = image.fault(Code::MissingLibrary);
    says(
        &finding,
        &["needs libgomp.so.1", "libgomp1", "[system] packages"],
    );
    assert_eq!(finding.owner.as_deref(), Some("native 2.0"));
}

#[test]
fn a_library_that_python_code_opens_by_name() {
    let mut image = Image::good("arm64");
    image.wheel(
        "python_magic",
        "",
        "py3-none-any",
        &[("magic/__init__.py", b"")],
    );
    says(
        &image.fault(Code::MissingLibrary),
        &["opens libmagic.so.1 by name", "libmagic1t64"],
    );
    image.file(
        "usr/lib/aarch64-linux-gnu/libmagic.so.1",
        ElfBuilder::new("arm64").build(),
    );
    assert_eq!(image.check().findings, []);
    image.wheel(
        "soundfile",
        "",
        "py3-none-any",
        &[("_soundfile_data/libsndfile_arm64.so", b"")],
    );
    assert_eq!(image.check().findings, [], "it has its own");
}

#[test]
fn a_library_that_is_there_for_another_machine() {
    let mut image = Image::good("arm64");
    image.module(&ElfBuilder::new("arm64").needed("libgomp.so.1"));
    image.file(
        "usr/lib/x86_64-linux-gnu/libgomp.so.1",
        ElfBuilder::new("amd64").build(),
    );
    let report = image.check();
    let missing = report.faults().find(|it| it.code == Code::MissingLibrary);
    says(
        missing.unwrap(),
        &["/usr/lib/x86_64-linux-gnu/libgomp.so.1 is for x86-64"],
    );
}

#[test]
fn a_too_new_glibc_symbol() {
    let mut image = Image::good("amd64");
    image.module(&ElfBuilder::new("amd64").needs("libc.so.6", &["GLIBC_2.17", "GLIBC_2.43"]));
    let finding = image.fault(Code::MissingVersion);
    says(
        &finding,
        &[
            "needs GLIBC_2.43 of /usr/lib/x86_64-linux-gnu/libc.so.6",
            "up to GLIBC_2.41",
            "no base is known",
        ],
    );
}

#[test]
fn a_missing_glibcxx_version() {
    let mut image = Image::good("arm64");
    image.module(&ElfBuilder::new("arm64").needs("libstdc++.so.6", &["GLIBCXX_3.4.32"]));
    let finding = image.fault(Code::MissingVersion);
    says(
        &finding,
        &[
            "GLIBCXX_3.4.32",
            "up to GLIBCXX_3.4.30",
            "as new as Ubuntu 24.04",
            "native",
        ],
    );
}

#[test]
fn a_broken_runpath() {
    let mut image = Image::good("arm64");
    image.module(
        &ElfBuilder::new("arm64")
            .runpath("$ORIGIN/../wrong.libs")
            .needed("libinner.so.1"),
    );
    let finding = image.fault(Code::MissingLibrary);
    says(
        &finding,
        &[
            "libinner.so.1",
            "native.libs/libinner.so.1",
            "DT_RUNPATH `$ORIGIN/../wrong.libs`",
        ],
    );
}

#[test]
fn an_rpath_reaches_to_children_and_a_runpath_does_not() {
    let elf = || ElfBuilder::new("arm64");
    let mut image = Image::good("arm64");
    image.file(&format!("{SITE}/native.libs/libleaf.so.1"), elf().build());
    image.file(
        &format!("{SITE}/native.libs/libinner.so.1"),
        elf().needed("libleaf.so.1").build(),
    );
    image.module(
        &elf()
            .rpath("$ORIGIN/../native.libs")
            .needed("libinner.so.1"),
    );
    assert_eq!(image.check().findings, []);
    image.module(
        &elf()
            .runpath("$ORIGIN/../native.libs")
            .needed("libinner.so.1"),
    );
    says(
        &image.fault(Code::MissingLibrary),
        &["libinner.so.1 needs libleaf.so.1"],
    );
    // What is loaded already is not looked for.
    image.module(
        &elf()
            .runpath("$ORIGIN/../native.libs")
            .needed("libleaf.so.1")
            .needed("libinner.so.1"),
    );
    assert_eq!(image.check().findings, []);
    // A DT_RUNPATH of the child makes the DT_RPATH of those above void for it.
    let child = elf().runpath("/nowhere").needed("libleaf.so.1");
    image.file(&format!("{SITE}/native.libs/libinner.so.1"), child.build());
    image.module(
        &elf()
            .rpath("$ORIGIN/../native.libs")
            .needed("libinner.so.1"),
    );
    image.fault(Code::MissingLibrary);
}

#[test]
fn directories_of_the_environment_and_of_ldconfig() {
    let mut image = Image::good("arm64");
    image.file("opt/x/lib/libown.so.1", ElfBuilder::new("arm64").build());
    image.module(&ElfBuilder::new("arm64").needed("libown.so.1"));
    says(
        &image.fault(Code::MissingLibrary),
        &["it lies at /opt/x/lib/libown.so.1", "LD_LIBRARY_PATH"],
    );
    image.text("etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n");
    image.text("etc/ld.so.conf.d/own.conf", "# own\n/opt/x/lib\n");
    image.fault(Code::MissingLibrary);
    image.text("etc/ld.so.cache", "made by ldconfig");
    assert_eq!(image.check().findings, []);
    image.nodes.remove("etc/ld.so.cache");
    image
        .config
        .env
        .push("LD_LIBRARY_PATH=/nowhere:/opt/x/$LIB/..//lib".to_owned());
    image.fault(Code::MissingLibrary);
    image
        .config
        .env
        .push("LD_LIBRARY_PATH=/opt/x/lib".to_owned());
    assert_eq!(image.check().findings, []);
}

#[test]
fn what_a_package_loads_itself_is_a_note() {
    let mut image = Image::good("arm64");
    let elf = || ElfBuilder::new("arm64");
    image.wheel(
        "torch",
        "",
        "cp313-cp313-manylinux_2_28_aarch64",
        &[("torch/lib/libc10.so", &elf().build())],
    );
    image.module(&elf().needed("libc10.so"));
    image.fault(Code::MissingLibrary);
    image.wheel(
        "native",
        "Requires-Dist: torch\n",
        "cp313-cp313-manylinux_2_28_aarch64",
        &[(
            "native/_native.cpython-313.so",
            &elf().needed("libc10.so").build(),
        )],
    );
    image.only(Severity::Note, Code::Preloaded);
}

#[test]
fn a_drivers_library_is_a_note() {
    let mut image = Image::good("amd64");
    image.module(&ElfBuilder::new("amd64").needed("libcuda.so.1"));
    says(
        &image.only(Severity::Note, Code::MissingLibrary),
        &["rule: ", "driver"],
    );
}

#[test]
fn a_transport_for_hardware_is_a_note() {
    let elf = || ElfBuilder::new("arm64");
    for (path, severity) in [
        (
            "nvidia/nvshmem/lib/nvshmem_transport_ucx.so.6",
            Severity::Note,
        ),
        (
            "nvidia/nvshmem/lib/nvshmem_bootstrap_mpi.so.3",
            Severity::Note,
        ),
        ("nvidia/cu13/lib/libcufile_rdma.so.1", Severity::Note),
        ("nvidia/cu13/lib/libcufile.so.0", Severity::Fault),
        ("other/lib/nvshmem_transport_ucx.so.6", Severity::Fault),
    ] {
        let mut image = Image::good("arm64");
        let library = elf().needed("libibverbs.so.1").build();
        image.wheel(
            "nvidia-libraries",
            "1.0",
            "py3-none-manylinux_2_28_aarch64",
            &[(path, &library)],
        );
        image.only(severity, Code::MissingLibrary);
    }
}

#[test]
fn a_compilers_library_that_nothing_needs_is_a_note() {
    let elf = || ElfBuilder::new("arm64");
    for (needed, severity) in [
        (None, Severity::Note),
        (Some("libgfortran.so.5"), Severity::Fault),
    ] {
        let mut image = Image::good("arm64");
        let runtime = elf()
            .soname("libgfortran.so.5")
            .needed("libquadmath.so.0")
            .build();
        let user = needed
            .iter()
            .fold(elf().runpath("$ORIGIN"), |elf, name| elf.needed(name));
        image.wheel(
            "native",
            "1.0",
            "py3-none-manylinux_2_28_aarch64",
            &[
                ("native/lib/libgfortran.so.5", &runtime),
                ("native/lib/libnative.so", &user.build()),
            ],
        );
        let finding = image.only(severity, Code::MissingLibrary);
        assert_eq!(finding.subject.as_deref(), Some("libquadmath.so.0"));
    }
}

#[test]
fn a_dangling_interpreter_link() {
    let mut image = Image::good("arm64");
    image.link("opt/venv/bin/python", "/usr/local/bin/python3.13");
    let report = image.check();
    let dangling: Vec<_> = report
        .faults()
        .filter(|it| it.code == Code::DanglingInterpreter)
        .collect();
    assert_eq!(dangling.len(), 2, "{:#?}", report.findings);
    says(
        dangling[0],
        &["/opt/venv/bin/python", "/usr/local/bin/python3.13"],
    );
    assert!(
        report
            .faults()
            .any(|it| it.code == Code::MissingInterpreter),
        "the script's"
    );
}

#[test]
fn a_missing_loader() {
    let mut image = Image::good("amd64");
    let tool = ElfBuilder::new("amd64").interpreter("/lib64/ld-other.so.1");
    image.program("usr/bin/tool", tool.build());
    says(
        &image.fault(Code::MissingInterpreter),
        &["/lib64/ld-other.so.1"],
    );
}

#[test]
fn a_missing_entry_point() {
    let mut image = Image::good("arm64");
    image.config.entrypoint = vec!["serve".to_owned()];
    says(
        &image.fault(Code::MissingProgram),
        &["Entrypoint runs `serve`", "/opt/venv/bin:/usr/bin"],
    );
    image.config.entrypoint = vec!["/app/main.py".to_owned()];
    says(
        &image.fault(Code::MissingProgram),
        &["/app/main.py is not an executable file"],
    );
    image.config.entrypoint = vec!["python".to_owned(), "other.py".to_owned()];
    says(
        &image.fault(Code::MissingProgram),
        &["runs the script `other.py`"],
    );
    image.config.entrypoint = vec!["python".to_owned(), "-u".to_owned(), "main.py".to_owned()];
    assert_eq!(image.check().findings, []);
}

#[test]
fn a_missing_application_of_a_server() {
    let mut image = Image::good("arm64");
    image.program("opt/venv/bin/uvicorn", "#!/opt/venv/bin/python\n");
    let run = |image: &mut Image, command: &str| {
        image.config.entrypoint = Vec::new();
        image.config.cmd = command.split(' ').map(str::to_owned).collect();
    };
    run(&mut image, "uvicorn --host 0.0.0.0 main:app");
    assert_eq!(image.check().findings, []);
    run(&mut image, "uvicorn app.main:app --port 8000");
    says(
        &image.fault(Code::MissingModule),
        &["Cmd gives uvicorn", "no module app.main", "/app"],
    );
    run(&mut image, "uvicorn --app-dir / app.main:app");
    assert_eq!(image.check().findings, []);
    run(&mut image, "python -m demo");
    says(&image.fault(Code::MissingModule), &["runs the module demo"]);
    image.text(&format!("{SITE}/demo/__main__.py"), "");
    assert_eq!(image.check().findings, []);
    run(&mut image, "python -m nothing.there");
    says(&image.fault(Code::MissingModule), &["module nothing.there"]);
}

#[test]
fn a_missing_module_of_a_command() {
    let mut image = Image::good("arm64");
    let path = format!("{SITE}/demo-1.0.dist-info/entry_points.txt");
    image.text(&path, "[console_scripts]\ndemo = demo.cli:main\n");
    says(
        &image.fault(Code::MissingModule),
        &["the command `demo`", "demo.cli"],
    );
}

#[test]
fn a_wrong_shebang() {
    let mut image = Image::good("arm64");
    image.program("opt/venv/bin/demo", "#!/home/me/venv/bin/python\n");
    let report = image.check();
    let faults: Vec<_> = report.faults().collect();
    assert_eq!(
        faults.len(),
        2,
        "of the script, and of the entrypoint: {faults:#?}"
    );
    assert!(faults.iter().all(|it| it.code == Code::MissingInterpreter));
    says(faults[0], &["/home/me/venv/bin/python, which is not there"]);
    image.program("opt/venv/bin/demo", "#!/usr/bin/env python\n");
    image.program("usr/bin/env", ElfBuilder::new("arm64").build());
    assert_eq!(image.check().findings, []);
}

#[test]
fn a_script_that_nothing_runs_is_a_note() {
    let mut image = Image::good("arm64");
    image.program(&format!("{SITE}/demo/tool.sh"), "#!/bin/bash\n");
    says(
        &image.only(Severity::Note, Code::MissingInterpreter),
        &["rule: ", "/bin/bash"],
    );
}

#[test]
fn an_unsatisfied_requirement() {
    let mut image = Image::good("arm64");
    let metadata = format!("{SITE}/demo-1.0.dist-info/METADATA");
    image.text(
        &metadata,
        "Name: demo\nVersion: 1.0\nRequires-Dist: native>=3\n",
    );
    says(
        &image.fault(Code::MissingRequirement),
        &["requires native>=3", "2.0 is installed"],
    );
    image.text(
        &metadata,
        "Name: demo\nVersion: 1.0\nRequires-Dist: gone; platform_machine == 'aarch64'\n",
    );
    says(
        &image.fault(Code::MissingRequirement),
        &["requires gone", "is not installed"],
    );
    image.text(
        &metadata,
        "Name: demo\nVersion: 1.0\nRequires-Dist: gone; platform_machine == 'x86_64'\n",
    );
    assert_eq!(image.check().findings, []);
    image.text(
        &metadata,
        "Name: demo\nVersion: 1.0\nRequires-Dist: native[fast]\n",
    );
    image.text(
        &format!("{SITE}/native-2.0.dist-info/METADATA"),
        "Name: native\nVersion: 2.0\nRequires-Dist: speed; extra == 'fast'\n",
    );
    says(
        &image.fault(Code::MissingRequirement),
        &["native-2.0", "requires speed"],
    );
}

#[test]
fn a_file_that_two_packages_own() {
    let mut image = Image::good("arm64");
    image.wheel(
        "other",
        "",
        "py3-none-any",
        &[("demo/__init__.py", b"other")],
    );
    says(
        &image.fault(Code::OwnedTwice),
        &[
            "demo/__init__.py is in demo 1.0 and in other 1.0",
            "differs",
        ],
    );
    image.wheel("other", "", "py3-none-any", &[("demo/__init__.py", b"")]);
    image.only(Severity::Note, Code::OwnedTwice);
}

#[test]
fn a_package_of_python_that_debian_installed() {
    let mut image = Image::good("arm64");
    let info = "usr/lib/python3/dist-packages/six-1.0.egg-info";
    image.text(
        &format!("{info}/PKG-INFO"),
        "Name: six\nVersion: 1.0\nRequires-Dist: gone\n",
    );
    image.text(
        "var/lib/dpkg/status.d/python3-six",
        "Package: python3-six\nVersion: 1.0-1\n",
    );
    image.text(
        "var/lib/dpkg/status.d/python3-six.md5sums",
        &format!("0  {info}/PKG-INFO\n"),
    );
    assert_eq!(
        image.check().findings,
        [],
        "the environment does not see it"
    );
    image.text(
        "opt/venv/pyvenv.cfg",
        "include-system-site-packages = true\n",
    );
    says(
        &image.only(Severity::Note, Code::MissingRequirement),
        &["rule: ", "requires gone"],
    );
}

#[test]
fn a_configuration_file_is_of_its_package() {
    let mut image = Image::good("arm64");
    image.text(
        "var/lib/dpkg/status.d/base-files",
        "Package: base-files\nVersion: 13\nConffiles:\n /etc/update-motd.d/10-uname 9dd4e461268c8034f5c8564e155c67a6\n",
    );
    image.text(
        "var/lib/dpkg/status.d/base-files.md5sums",
        "0  usr/share/a\n0  usr/share/b\n",
    );
    image.program("etc/update-motd.d/10-uname", "#!/bin/sh\n");
    let note = image.only(Severity::Note, Code::MissingInterpreter);
    assert_eq!(note.owner.as_deref(), Some("base-files 13"));
    says(&note, &["a Debian package's own script"]);
    image.program("usr/share/a", "#!/bin/perl\n");
    image.program("usr/share/b", "#!/bin/sh\n");
    says(
        &image.only(Severity::Note, Code::MissingInterpreter),
        &[
            "/etc/update-motd.d/10-uname is run by /bin/sh",
            "lack theirs too: /usr/share/a, /usr/share/b",
        ],
    );
}

#[test]
fn what_a_project_replaces_is_a_note() {
    let mut image = Image::good("arm64");
    let metadata = format!("{SITE}/demo-1.0.dist-info/METADATA");
    image.text(
        &metadata,
        "Name: demo\nVersion: 1.0\nRequires-Dist: Gone.Away\n",
    );
    let mut report = image.check();
    let by = |wanted: (&'static str, &'static str)| {
        move |owner: &str, subject: &str| {
            (wanted == (owner, subject)).then(|| format!("exclude {subject}"))
        }
    };
    report.waive(by(("demo", "other")));
    report.waive(by(("other", "gone-away")));
    assert!(report.lacks_requirements());
    report.waive(by(("demo", "gone-away")));
    assert_eq!((report.faults().count(), report.notes().count()), (0, 1));
    says(&report.findings[0], &["exclude gone-away"]);
    assert!(!report.lacks_requirements());
}

#[test]
fn users_and_directories() {
    let mut image = Image::good("arm64");
    image.config.user = "nobody".to_owned();
    says(
        &image.fault(Code::MissingUser),
        &["User names the user `nobody`"],
    );
    image.config.user = "1234:5678".to_owned();
    assert_eq!(image.check().findings, []);
    image.config.user = "app:wheel".to_owned();
    says(&image.fault(Code::MissingUser), &["the group `wheel`"]);
    image.config.user = String::new();
    image.config.working_dir = "/not/there".to_owned();
    image.only(Severity::Note, Code::MissingDirectory);
    image.config.working_dir = "/app/main.py".to_owned();
    image.fault(Code::MissingDirectory);
}

#[test]
fn rights_that_are_seldom_needed_are_notes() {
    let mut image = Image::good("arm64");
    image
        .nodes
        .insert("usr/bin/su".to_owned(), Node::File(0o4755, Vec::new()));
    image
        .nodes
        .insert("app/log".to_owned(), Node::File(0o666, Vec::new()));
    let report = image.check();
    let codes: Vec<_> = report
        .notes()
        .map(|it| (it.code, it.path.as_str()))
        .collect();
    assert_eq!(
        codes,
        [
            (Code::WorldWritable, "/app/log"),
            (Code::Setuid, "/usr/bin/su")
        ]
    );
    assert_eq!(report.faults().count(), 0);
}

#[test]
fn what_cannot_be_read_is_said() {
    let mut image = Image::good("arm64");
    let module = ElfBuilder::new("arm64").needed("libgomp.so.1").build();
    image.file(
        &format!("{SITE}/native/_native.cpython-313.so"),
        module[..150].to_vec(),
    );
    let report = image.check();
    assert!(
        report.notes().any(|it| it.code == Code::DamagedElf),
        "{:#?}",
        report.findings
    );
}
