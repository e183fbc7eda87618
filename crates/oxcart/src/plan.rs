//! The plan: what one platform's image will be, from the project and its lock alone. Pure: no file is
//! read and nothing is fetched for it.

use std::collections::BTreeMap;

use oci::{Platform, Runtime, TreePath};
use oci_spec::image::{ANNOTATION_BASE_IMAGE_DIGEST, ANNOTATION_BASE_IMAGE_NAME};

use crate::diagnostics::Failure;
use crate::layering;
use crate::lock::{
    DebLayer, LockedDeb, LockedEnvironment, LockedImage, LockedPlatform, LockedProject,
    LockedPython, LockedWheel,
};
use crate::parts::Part;
use crate::project::{App, Base, Project};

/// Where programs are looked for below the virtual environment's: Debian's own default.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where the virtual environment is, unless the project or a base that is extended says otherwise.
const VENV: &str = "/opt/venv";

/// One platform's image to be.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) platform: Platform,
    pub(crate) base: String,
    /// The base image, whose layers come first; None where `steps` make the base too.
    pub(crate) image: Option<LockedImage>,
    pub(crate) python: Option<LockedPython>,
    /// The virtual environment's directory.
    pub(crate) venv: TreePath,
    /// Bottom to top.
    pub(crate) steps: Vec<Step>,
    pub(crate) config: Runtime,
    /// Of the manifest.
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What one layer is made of.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Debian packages: the base's, or the project's `[system]`.
    Debian(DebLayer, Vec<LockedDeb>),
    /// The virtual environment itself: links to the interpreter and pyvenv.cfg.
    Skeleton,
    /// One large wheel, or several small ones.
    Wheels(Vec<LockedWheel>),
    /// Some of the files of a wheel that has several layers.
    Part(Box<LockedWheel>, Part),
    /// The project's own wheel, which is built with the image: none as long as it is not.
    Project(LockedProject, Option<Box<LockedWheel>>),
    /// Files of the project.
    App(App),
}

impl Plan {
    /// The plan for what is `locked`.
    pub(crate) fn new(project: &Project, locked: &LockedPlatform) -> Result<Self, Failure> {
        let mut steps = Vec::new();
        for layer in [DebLayer::Base, DebLayer::System] {
            let debs: Vec<_> = locked
                .debs
                .iter()
                .filter(|deb| deb.layer == layer)
                .cloned()
                .collect();
            if !debs.is_empty() {
                steps.push(Step::Debian(layer, debs));
            }
        }
        let environment = locked.python.as_ref().map(|it| it.environment.as_ref());
        if let Some(environment) = environment
            && !matches!(environment, Some(LockedEnvironment::Extended(_)))
        {
            steps.push(Step::Skeleton);
        }
        let apps = project.apps.len();
        let image = &locked.base.image;
        let of_base = image.as_ref().map_or(0, |image| image.layers.len());
        let own = usize::from(locked.project.is_some());
        let taken = of_base + steps.len() + own + apps;
        let budget = project
            .max_layers
            .checked_sub(taken)
            .filter(|budget| *budget > 0);
        let budget = budget.ok_or_else(|| {
            Failure::new(format!(
                "[image] max-layers = {} leaves no layer for wheels",
                project.max_layers
            ))
            .hint(format!(
                "{taken} are taken: {of_base} by the base image, {apps} by [[app]] tables; 127 is the most"
            ))
        })?;
        steps.extend(layering::distribute(&locked.wheels, budget));
        // Above all that is shared: its sources change most often.
        let own = locked.project.iter().cloned();
        steps.extend(own.map(|own| Step::Project(own, None)));
        steps.extend(project.apps.iter().cloned().map(Step::App));
        let venv = venv(project, locked)?;
        Ok(Self {
            platform: locked.name,
            base: locked.base.reference.clone(),
            image: image.clone(),
            python: locked.python.clone(),
            steps,
            config: runtime(project, locked, &venv),
            venv,
            annotations: annotations(&project.base, image.as_ref()),
        })
    }

    /// The plan as a document for `plan --json`.
    pub(crate) fn document(&self) -> serde_json::Value {
        let layers: Vec<_> = self
            .steps
            .iter()
            .map(|step| {
                serde_json::json!({
                    "kind": step.kind(),
                    "members": step.members(),
                    "bytes": step.fetched_bytes(),
                })
            })
            .collect();
        serde_json::json!({
            "platform": self.platform,
            "base": self.base,
            "image": self.image.as_ref().map(LockedImage::without_content),
            "python": self.python,
            "venv": format!("/{}", self.venv),
            "layers": layers,
            "config": {
                "user": self.config.user,
                "workdir": self.config.workdir,
                "env": self.config.env.iter().cloned().collect::<BTreeMap<_, _>>(),
                "path_prefix": self.config.path_prefix,
                "entrypoint": self.config.entrypoint,
                "cmd": self.config.cmd,
                "expose": self.config.expose,
                "labels": self.config.labels,
                "stop_signal": self.config.stop_signal,
            },
        })
    }
}

impl Step {
    /// One word for the lock, the metadata file and messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Debian(DebLayer::Base, _) => "base",
            Self::Debian(DebLayer::System, _) => "system",
            Self::Skeleton => "venv",
            Self::Wheels(_) | Self::Part(..) | Self::Project(..) => "wheel",
            Self::App(_) => "app",
        }
    }

    /// Whether it is the same in every project that has the same packages.
    pub(crate) fn is_shared(&self) -> bool {
        !matches!(self, Self::Project(..) | Self::App(_))
    }

    /// The wheels in it.
    pub(crate) fn wheels(&self) -> &[LockedWheel] {
        match self {
            Self::Wheels(wheels) => wheels,
            Self::Part(wheel, _) => std::slice::from_ref(wheel),
            Self::Project(_, wheel) => wheel.as_deref().map_or(&[], std::slice::from_ref),
            Self::Debian(..) | Self::Skeleton | Self::App(_) => &[],
        }
    }

    /// What is in it, each with its version.
    pub(crate) fn members(&self) -> Vec<String> {
        match self {
            Self::Debian(_, debs) => debs
                .iter()
                .map(|deb| format!("{} {}", deb.name, deb.version))
                .collect(),
            Self::Skeleton => Vec::new(),
            Self::Wheels(_) | Self::Project(_, Some(_)) => self
                .wheels()
                .iter()
                .map(|it| format!("{} {}", it.name, it.version))
                .collect(),
            Self::Part(it, part) => vec![format!("{} {} ({part})", it.name, it.version)],
            Self::Project(own, None) => vec![own.name.clone()],
            Self::App(app) => vec![app.source.display().to_string()],
        }
    }

    /// What messages and the image's history call it.
    pub(crate) fn title(&self) -> String {
        let members = self.members();
        match (self, members.as_slice()) {
            (Self::Debian(..), _) => format!("{}: {} Debian packages", self.kind(), members.len()),
            (Self::Skeleton, _) => "virtual environment".to_owned(),
            (Self::App(app), [source]) => format!("{source} → /{}", app.destination),
            (_, [one]) => one.clone(),
            (_, several) => several.join(", "),
        }
    }

    /// Bytes of the files it is made from, as they are fetched. None for what is not fetched.
    pub(crate) fn fetched_bytes(&self) -> Option<u64> {
        match self {
            Self::Debian(_, debs) => Some(debs.iter().map(|deb| deb.size).sum()),
            Self::Wheels(wheels) => Some(wheels.iter().map(|wheel| wheel.size).sum()),
            Self::Part(wheel, part) => Some(part.share(wheel.size)),
            Self::Skeleton | Self::Project(..) | Self::App(_) => None,
        }
    }
}

fn venv(project: &Project, locked: &LockedPlatform) -> Result<TreePath, Failure> {
    let environment = locked
        .python
        .as_ref()
        .and_then(|it| it.environment.as_ref());
    let path = match (environment, &project.venv) {
        (Some(LockedEnvironment::Extended(path)), _) => path.as_str(),
        (_, Some(stated)) => return Ok(stated.clone()),
        (_, None) => VENV,
    };
    TreePath::new(path).map_err(|error| {
        Failure::new(format!(
            "the lock has no usable environment for {}",
            locked.name
        ))
        .hint("run `oxcart lock`")
        .caused_by(error)
    })
}

/// What the manifest says of the image below (image-spec `annotations.md`): nothing where there is none, as where
/// the base is made of Debian packages. A path on this machine is not named.
fn annotations(base: &Base, image: Option<&LockedImage>) -> BTreeMap<String, String> {
    let Some(image) = image else {
        return BTreeMap::new();
    };
    let digest = image.manifest.digest;
    // The name is to mean that manifest: the tag does, and without one its digest.
    let name = base
        .reference()
        .map(|reference| match reference.tag() {
            Some(tag) => reference.with_tag(tag),
            None => reference.with_digest(digest),
        })
        .map(|name| (ANNOTATION_BASE_IMAGE_NAME.to_owned(), name.to_string()));
    let digest = (ANNOTATION_BASE_IMAGE_DIGEST.to_owned(), digest.to_string());
    name.into_iter().chain([digest]).collect()
}

/// How containers of the image run: the base's defaults, the virtual environment, and what the project
/// states, the later of which wins.
fn runtime(project: &Project, locked: &LockedPlatform, venv: &TreePath) -> Runtime {
    let table = &project.config;
    let mut env = BTreeMap::new();
    let mut path_prefix = Vec::new();
    if let Base::Debian(_) = project.base {
        env.insert("PATH".to_owned(), PATH.to_owned());
        // Without one, Python's standard streams are ASCII.
        env.insert("LANG".to_owned(), "C.UTF-8".to_owned());
    }
    if locked.python.is_some() {
        env.insert("VIRTUAL_ENV".to_owned(), format!("/{venv}"));
        // What the project states is taken as it is.
        if !table.env.contains_key("PATH") {
            path_prefix.push(format!("/{venv}/bin"));
        }
    }
    env.extend(table.env.clone());
    Runtime {
        user: table.user.clone(),
        workdir: table.workdir.clone(),
        env: env.into_iter().collect(),
        path_prefix,
        entrypoint: table.entrypoint.clone(),
        cmd: table.cmd.clone(),
        expose: table.expose.clone(),
        labels: table.labels.clone(),
        stop_signal: table.stop_signal.clone(),
    }
}
