//! `oxcart verify`: what it says of images that are equal, and of each way in which one may not be.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use oci::Digest;
use serde_json::Value;
use testkit::{Registry, Run};

use crate::bases::OnBase;
use crate::project::Project;

const PLATFORM: &str = "linux/arm64";
/// The layer with `demo`, on both platforms: over the base, the environment and `helper`.
const DEMO: usize = 3;

/// A member of a layer.
#[derive(Clone)]
struct Member {
    path: String,
    header: tar::Header,
    bytes: Vec<u8>,
}

/// The layout `image` of a project, to be changed.
struct Forgery {
    root: PathBuf,
}

impl Forgery {
    fn blob(&self, digest: &str) -> Vec<u8> {
        let hex = digest.trim_start_matches("sha256:");
        fs::read(self.root.join("blobs/sha256").join(hex)).unwrap()
    }

    fn put(&self, bytes: &[u8]) -> String {
        let digest = Digest::of(bytes);
        fs::write(self.root.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        digest.to_string()
    }

    fn json(&self, descriptor: &Value) -> Value {
        serde_json::from_slice(&self.blob(descriptor["digest"].as_str().unwrap())).unwrap()
    }

    fn replace(&self, descriptor: &mut Value, document: &Value) {
        let bytes = oci::json::canonical(document);
        descriptor["digest"] = self.put(&bytes).into();
        descriptor["size"] = bytes.len().into();
    }

    /// Changes manifest and configuration of one platform, and all that refers to them.
    fn image(&self, change: impl FnOnce(&mut Value, &mut Value)) {
        let path = self.root.join("index.json");
        let mut top: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let mut index = self.json(&top["manifests"][0]);
        let entries = index["manifests"].as_array_mut().unwrap();
        let entry = entries
            .iter_mut()
            .find(|it| it["platform"]["architecture"] == "arm64")
            .unwrap();
        let mut manifest = self.json(entry);
        let mut config = self.json(&manifest["config"]);
        change(&mut manifest, &mut config);
        let mut descriptor = manifest["config"].take();
        self.replace(&mut descriptor, &config);
        manifest["config"] = descriptor;
        let mut changed = entry.take();
        self.replace(&mut changed, &manifest);
        *entry = changed;
        let mut descriptor = top["manifests"][0].take();
        self.replace(&mut descriptor, &index);
        top["manifests"][0] = descriptor;
        fs::write(path, serde_json::to_vec(&top).unwrap()).unwrap();
    }

    /// Puts other bytes in the place of a layer's tar stream.
    fn layer(&self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        self.image(|manifest, config| {
            let layer = &mut manifest["layers"][DEMO];
            let mut tar = Vec::new();
            let blob = self.blob(layer["digest"].as_str().unwrap());
            GzDecoder::new(&blob[..]).read_to_end(&mut tar).unwrap();
            let tar = change(tar);
            config["rootfs"]["diff_ids"][DEMO] = Digest::of(&tar).to_string().into();
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&tar).unwrap();
            let blob = encoder.finish().unwrap();
            layer["digest"] = self.put(&blob).into();
            layer["size"] = blob.len().into();
        });
    }

    fn members(&self, change: impl FnOnce(&mut Vec<Member>)) {
        self.layer(|tar| {
            let mut archive = tar::Archive::new(&tar[..]);
            let mut members = Vec::new();
            for entry in archive.entries().unwrap() {
                let mut entry = entry.unwrap();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                members.push(Member {
                    path: entry.path().unwrap().to_str().unwrap().to_owned(),
                    header: entry.header().clone(),
                    bytes,
                });
            }
            change(&mut members);
            let mut out = tar::Builder::new(Vec::new());
            for Member {
                path,
                mut header,
                bytes,
            } in members
            {
                header.set_size(bytes.len() as u64);
                out.append_data(&mut header, path, &bytes[..]).unwrap();
            }
            out.into_inner().unwrap()
        });
    }
}

fn data(members: &mut [Member]) -> &mut Member {
    let found = members
        .iter_mut()
        .find(|it| it.path.ends_with("demo/data.txt"));
    found.unwrap()
}

/// A built project whose image `forge` changed, verified.
fn forged(forge: impl FnOnce(&Forgery)) -> Run {
    let project = Project::standard();
    project.build(&[]);
    forge(&Forgery {
        root: project.context.path("image"),
    });
    let run = project.context.run(["verify", "oci:image"]);
    assert_eq!(run.status, Some(1), "{}", run.account());
    let of_other = run.stdout.split("linux/arm64\n").next().unwrap();
    assert!(
        of_other.contains("linux/amd64\n  6 layers are equal\n"),
        "{}",
        run.account()
    );
    run
}

/// That the report says each of `texts`.
#[track_caller]
fn says(run: &Run, texts: &[&str]) {
    for text in texts {
        assert!(
            run.stdout.contains(text),
            "no {text:?} in\n{}",
            run.account()
        );
    }
}

#[test]
fn an_equal_image_wherever_it_is() {
    let project = Project::standard();
    let registry = Registry::start();
    let name = registry.reference("team/demo");
    let arguments = [
        "--output",
        "oci-archive:image.tar",
        "--push",
        "--name",
        &name,
    ];
    let digest = project.build(&arguments);
    registry.several_clients();
    // What the store knows of layers is not what they are compared with.
    for path in crate::project::listing(&project.context.store().join("layers")) {
        fs::remove_file(project.context.store().join("layers").join(path)).unwrap();
    }
    for place in ["oci:image", "image.tar", &name] {
        let run = project.context.succeeds(["verify", place]);
        assert_eq!(
            run.stdout.matches("  6 layers are equal\n").count(),
            2,
            "{}",
            run.account()
        );
        says(
            &run,
            &[
                "the configuration is equal, sha256:",
                "the manifest is equal, sha256:",
            ],
        );
        says(&run, &[&format!("index\n  equal, {digest}")]);
    }
    let run = project
        .context
        .succeeds(["verify", "--platform", PLATFORM, "image"]);
    assert!(!run.stdout.contains("linux/amd64"), "{}", run.account());
    project.context.succeeds([
        "build",
        "--platform",
        PLATFORM,
        "--output",
        "docker-archive:one.tar",
    ]);
    project.context.succeeds(["verify", "one.tar"]);
}

#[test]
fn another_mode() {
    let run = forged(|image| image.members(|members| data(members).header.set_mode(0o600)));
    says(
        &run,
        &[
            "  layer 4 of 6 (wheel demo 1.0) is sha256:",
            "site-packages/demo/data.txt has mode 0600, expected 0644; it is the only file that differs",
            "  5 layers are equal\n",
            "configuration.rootfs.diff_ids[3] is \"sha256:",
            "manifest.layers[3].digest is \"sha256:",
            "manifests[1].digest is \"sha256:",
        ],
    );
}

#[test]
fn another_time() {
    let run = forged(|image| {
        image.members(|members| {
            for member in members {
                member.header.set_mtime(315_532_801);
            }
        });
    });
    says(
        &run,
        &["/opt has mtime 315532801, expected 315532800; it is the first of "],
    );
}

#[test]
fn another_owner() {
    let run = forged(|image| image.members(|members| data(members).header.set_uid(7)));
    says(&run, &["demo/data.txt has owner 7:0, expected 0:0"]);
}

#[test]
fn other_content() {
    let run = forged(|image| image.members(|members| data(members).bytes[1000] = b'#'));
    says(
        &run,
        &["demo/data.txt has other content from byte 1000 on: 0x23, expected 0x"],
    );
    let run = forged(|image| image.members(|members| data(members).bytes.push(b'!')));
    says(
        &run,
        &["demo/data.txt has a size of 108001 bytes, expected 108000 bytes"],
    );
}

#[test]
fn an_extra_file_and_a_missing_one() {
    let run = forged(|image| {
        image.members(|members| {
            let mut extra = data(members).clone();
            extra.path = extra.path.replace("data.txt", "evil.pth");
            members.push(extra);
        });
    });
    says(
        &run,
        &["/demo/evil.pth is not expected; it is the only file that differs"],
    );
    let run = forged(|image| {
        image.members(|members| members.retain(|it| !it.path.ends_with("data.txt")));
    });
    says(
        &run,
        &["/demo/data.txt is missing; it is the only file that differs"],
    );
}

#[test]
fn another_compression_and_another_order() {
    let run = forged(|image| image.layer(|tar| tar));
    says(
        &run,
        &[
            "the files are the same (diff_id sha256:",
            "compressed in another way",
        ],
    );
    let run = forged(|image| image.members(|members| members.reverse()));
    says(
        &run,
        &["every file is the same, but they come in another order"],
    );
    let run = forged(|image| {
        image.members(|members| data(members).header.set_username("root").unwrap());
    });
    says(
        &run,
        &["every file is the same, but not the headers around them"],
    );
}

#[test]
fn another_configuration_and_other_annotations() {
    let run = forged(|image| {
        image.image(|manifest, config| {
            config["config"]["User"] = "root".into();
            config["config"]["Env"][0] = "PATH=/evil".into();
            manifest["annotations"] = serde_json::json!({"by": "somebody"});
        });
    });
    says(
        &run,
        &[
            "  6 layers are equal\n",
            "  configuration.config.User is \"root\", expected \"nonroot\"\n",
            "  configuration.config.Env[0] is \"PATH=/evil\", expected \"",
            "  manifest.annotations is not expected: {\"by\":\"somebody\"}\n",
        ],
    );
}

#[test]
fn layers_more_and_less() {
    let run = forged(|image| {
        image.image(|manifest, config| {
            manifest["layers"].as_array_mut().unwrap().pop();
            config["rootfs"]["diff_ids"].as_array_mut().unwrap().pop();
        });
    });
    says(
        &run,
        &[
            "layer 6 of 6 (app app → /app/app) is missing",
            "  5 layers are equal\n",
        ],
    );
    let run = forged(|image| {
        image.image(|manifest, config| {
            let first = manifest["layers"][0].clone();
            manifest["layers"].as_array_mut().unwrap().push(first);
            let first = config["rootfs"]["diff_ids"][0].clone();
            config["rootfs"]["diff_ids"]
                .as_array_mut()
                .unwrap()
                .push(first);
        });
    });
    says(&run, &["  layer 7 is not expected: sha256:"]);
}

#[test]
fn a_damaged_blob() {
    let project = Project::standard();
    let built = project.build_with_metadata(&[]);
    let digest = built["platforms"][PLATFORM]["layers"][DEMO]["digest"]
        .as_str()
        .unwrap();
    let path = project.context.path("image/blobs/sha256");
    let path = path.join(digest.trim_start_matches("sha256:"));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let run = project.context.run(["verify", "image"]);
    assert_eq!(run.status, Some(1), "{}", run.account());
    let name = "layer 4 of 6 (wheel demo 1.0) ";
    assert_eq!(run.stdout.matches(name).count(), 2, "{}", run.account());
    fs::remove_file(&path).unwrap();
    let run = project.context.run(["verify", "image"]);
    says(&run, &[&format!("{name}cannot be read: ")]);
}

#[test]
fn of_a_base_image_too() {
    let OnBase { project, registry } = OnBase::new();
    let digest = project.build(&[]);
    registry.several_clients();
    let run = project.context.succeeds(["verify", "image"]);
    says(&run, &[&format!("index\n  equal, {digest}")]);
    let forgery = Forgery {
        root: project.context.path("image"),
    };
    forgery.image(|manifest, config| {
        for list in [&mut manifest["layers"], &mut config["rootfs"]["diff_ids"]] {
            let second = list[1].clone();
            list[0] = second;
        }
    });
    let run = project.context.run(["verify", "image"]);
    assert_eq!(run.status, Some(1), "{}", run.account());
    says(
        &run,
        &[
            "  layer 1 of ",
            "(of the base image) is sha256:",
            "is missing; it is the first of ",
        ],
    );
}

#[test]
fn what_cannot_be_verified() {
    let project = Project::standard();
    project.build(&["--platform", PLATFORM]);
    project
        .context
        .fails(["verify", "nothing"])
        .says(&["there is no image at nothing", "hint:"]);
    let run = project
        .context
        .run(["verify", "--platform", "linux/amd64", "image"]);
    assert_eq!(run.status, Some(1));
    says(&run, &["linux/amd64\n  it is missing"]);
    project.context.succeeds(["verify", "image"]);
    project.context.write("requirements.txt", "demo\n");
    project
        .context
        .fails(["verify", "image"])
        .says(&["is not up to date", "hint: run `oxcart lock`"]);
}
