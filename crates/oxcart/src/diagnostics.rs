//! How failures are told: `error:` what failed, `caused by:` lines, `hint:` what to do.

use std::error::Error;
use std::fmt;
use std::path::Path;

/// A failure that the user can do something about, with what that is.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    source: Option<anyhow::Error>,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// The same, said of a file.
    pub(crate) fn of_file(mut self, path: &Path) -> Self {
        self.message = format!("{}: {}", path.display(), self.message);
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, where somebody else has a better one.
    pub(crate) fn without_hint(mut self) -> Self {
        self.hint = None;
        self
    }

    pub(crate) fn caused_by(mut self, source: impl Into<anyhow::Error>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(AsRef::as_ref)
    }
}

/// Turns an I/O error into a failure that names the file.
pub(crate) trait IoContext<T> {
    /// `verb` is what was being done: `read`, `write`, `create`.
    fn at(self, verb: &str, path: &Path) -> Result<T, Failure>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn at(self, verb: &str, path: &Path) -> Result<T, Failure> {
        self.map_err(|source| {
            let failure = Failure::new(format!("cannot {verb} {}", path.display()));
            match io_hint(&source) {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
            .caused_by(source)
        })
    }
}

fn io_hint(error: &std::io::Error) -> Option<&'static str> {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Some(
            "free some space (`oxcart store prune`), or put the store on a larger disk with --store or OXCART_STORE",
        ),
        _ => None,
    }
}

/// Writes `error` to stderr with its causes and the first hint found among them.
pub(crate) fn report(error: &anyhow::Error) {
    use anstyle::{AnsiColor, Style};
    let label = |colour: AnsiColor| Style::new().bold().fg_color(Some(colour.into()));
    let (red, cyan) = (label(AnsiColor::Red), label(AnsiColor::Cyan));
    let mut said = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let text = cause.to_string();
        // A library that repeats its source's text in its own would say everything twice.
        if depth > 0 && said.contains(&text) {
            continue;
        }
        if depth == 0 {
            anstream::eprintln!("{red}error:{red:#} {text}");
        } else {
            anstream::eprintln!("  caused by: {text}");
        }
        said.push_str(&text);
    }
    if let Some(hint) = error.chain().find_map(hint_of) {
        anstream::eprintln!("{cyan}hint:{cyan:#} {hint}");
    }
}

/// `error` and its causes in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn hint_of(cause: &(dyn Error + 'static)) -> Option<String> {
    if let Some(failure) = cause.downcast_ref::<Failure>() {
        return failure.hint.clone();
    }
    if let Some(error) = cause.downcast_ref::<resolve::Error>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<registry::Error>() {
        return error.hint();
    }
    if let Some(error) = cause.downcast_ref::<deb::Error>() {
        return deb_hint(error).map(str::to_owned);
    }
    if let Some(error) = cause.downcast_ref::<backend::Error>() {
        return error.hint().map(str::to_owned);
    }
    if let Some(error) = cause.downcast_ref::<wheel::Error>() {
        return error.hint().map(str::to_owned);
    }
    if let Some(oci::EncodeError::Body {
        fault: oci::BodyFault::Checksum { .. },
        ..
    }) = cause.downcast_ref()
    {
        return Some(
            "the wheel's RECORD has another checksum for this file; if you trust the wheel, set \
             record = { NAME = \"warn\" } in its [dependencies]"
                .to_owned(),
        );
    }
    cause
        .downcast_ref::<std::io::Error>()
        .and_then(io_hint)
        .map(str::to_owned)
}

fn deb_hint(error: &deb::Error) -> Option<&'static str> {
    Some(match error {
        deb::Error::Expired { .. } => {
            "use a mirror that is up to date, or accept an old one with [debian] accept-expired = true"
        }
        deb::Error::NotYetValid { .. } => {
            "set this machine's clock, or do without it: [debian] accept-expired = true"
        }
        deb::Error::Untrusted { .. } | deb::Error::NotSigned { .. } => {
            "use another mirror; for an archive that Debian does not sign, name its keys with [debian] keyring"
        }
        deb::Error::Deb { .. } => {
            "the archive's index has its sha256, so the archive has it like this: choose another version with [debian] pin, or leave the package out"
        }
        _ => return None,
    })
}

/// Whether the user can mend it (exit status 1), or it is ours to mend (2): a failure with a hint,
/// or of a kind that input causes, is the user's.
pub(crate) fn exit_status(error: &anyhow::Error) -> u8 {
    let usual = error.chain().any(|cause| {
        cause.is::<Failure>()
            || cause.is::<resolve::Error>()
            || cause.is::<registry::Error>()
            || cause.is::<registry::ReferenceError>()
            || cause.is::<facts::Error>()
            || cause.is::<contents::Error>()
            || cause.is::<anatomy::Error>()
            || cause.is::<oci::LayoutError>()
            || cause.is::<oci::ImageError>()
            || cause.is::<deb::Error>()
            || cause.is::<deb::SolveError>()
            || cause.is::<wheel::Error>()
            || cause.is::<backend::Error>()
            || cause.is::<oci::layer::EncodeError>()
            || cause.is::<std::io::Error>()
    });
    if usual { 1 } else { 2 }
}

/// The candidate that is nearest to a mistyped `word`, where one is near.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}
