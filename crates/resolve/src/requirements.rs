//! Requirements files, in pip's format, read by uv.
//!
//! Follows pip's reference, Requirements File Format. Options of the installer's own, such as
//! `--trusted-host`, are named in a warning; `--prefer-binary` matters where something may be built from sources.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::path::{Path, PathBuf};

use uv_client::{BaseClientBuilder, Connectivity};
use uv_distribution_types::Requirement;
use uv_pep508::Pep508Error;
use uv_pypi_types::VerbatimParsedUrl;
use uv_requirements_txt::{RequirementsTxt, RequirementsTxtFileError, SourceCache};
use uv_resolver::PrereleaseMode;

use crate::error::{Error, Place};
use crate::formats::FormatOption;
use crate::input::{Entry, Inputs, parse_message};
use crate::lines;
use crate::locked::normal;

/// Options that uv's reader skips without a word.
const SKIPPED: [&str; 2] = ["--trusted-host", "--use-feature"];

/// Adds what the file at `path`, and those it includes, require.
pub(crate) async fn read(path: &Path, inputs: &mut Inputs) -> Result<(), Error> {
    if !path.exists() {
        return Err(Error::MissingFile {
            path: path.to_owned(),
        });
    }
    let absolute = std::path::absolute(path).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let directory = absolute.parent().unwrap_or(Path::new("/"));
    // The client is for included URLs, which are not followed: a lock could not watch them.
    let client = BaseClientBuilder::default().connectivity(Connectivity::Offline);
    let mut contents = SourceCache::default();
    lines::prepare(&absolute, &mut contents);
    let file = RequirementsTxt::parse_with_cache(&absolute, directory, &client, &mut contents)
        .await
        .map_err(|error| explain(&error, path, &contents))?;

    let place = Place::File(path.to_owned(), None);
    for entry in file.requirements.into_iter().chain(file.editables) {
        inputs
            .requirements
            .push(Entry::new(entry.requirement, entry.hashes, place.clone())?);
    }
    inputs
        .constraints
        .extend(file.constraints.into_iter().map(|constraint| Entry {
            requirement: Requirement::from(constraint),
            hashes: Vec::new(),
            lowered: None,
            refused: None,
        }));
    let location =
        |url: uv_pep508::VerbatimUrl| url.raw().displayable_with_credentials().to_string();
    if inputs.index.default.is_none() {
        inputs.index.default = file.index_url.map(location);
    }
    inputs
        .index
        .extra
        .extend(file.extra_index_urls.into_iter().map(location));
    for url in file.find_links {
        let given = url.given().map(str::to_owned);
        let url = location(url);
        inputs.find_links.push(given.unwrap_or_else(|| url.clone()));
        inputs.index.find_links.push(url);
    }
    inputs.index.no_index |= file.no_index;
    inputs.require_hashes |= file.require_hashes;
    let mut lines = Vec::new();
    in_order(&absolute, &contents, &mut BTreeSet::new(), &mut lines)?;
    inputs.prefer_binary |= lines.iter().any(|line| line.trim() == "--prefer-binary");
    if lines.iter().any(|line| line.trim() == "--pre") {
        inputs.pre_releases = Some(PrereleaseMode::Allow);
    }
    inputs
        .formats
        .extend(lines.into_iter().filter_map(format_option));
    warn_of_skipped_options(path, &contents, inputs);
    Ok(())
}

/// The lines of a file with those of the files that it includes in their places, which is the order
/// in which options count; uv's reader doesn't keep it.
fn in_order<'a>(
    path: &Path,
    contents: &'a SourceCache,
    within: &mut BTreeSet<PathBuf>,
    lines: &mut Vec<&'a str>,
) -> Result<(), Error> {
    let found = contents.iter().find(|(known, _)| known.as_path() == path);
    let Some((_, content)) = found else {
        return Ok(());
    };
    within.insert(path.to_owned());
    for (number, line) in content.lines().enumerate() {
        let line = lines::without_comment(line);
        match lines::included(line) {
            Some(name) => {
                let name = path.parent().unwrap_or(Path::new("/")).join(name);
                let name = normal(&name);
                if within.contains(&name) {
                    return Err(Error::Invalid {
                        place: Place::File(path.to_owned(), Some(number + 1)),
                        message: format!("{} includes itself", name.display()),
                    });
                }
                in_order(&name, contents, within, lines)?;
            }
            None => lines.push(line),
        }
    }
    within.remove(path);
    Ok(())
}

fn format_option(line: &str) -> Option<FormatOption> {
    let (option, value) = line.split_once(['=', ' ', '\t'])?;
    let value = value.trim().to_owned();
    match option {
        "--only-binary" => Some(FormatOption::OnlyBinary(value)),
        "--no-binary" => Some(FormatOption::NoBinary(value)),
        _ => None,
    }
}

fn warn_of_skipped_options(path: &Path, contents: &SourceCache, inputs: &mut Inputs) {
    let options: BTreeSet<&str> = contents
        .values()
        .flat_map(|content| content.lines())
        .filter_map(|line| line.split([' ', '=', '\t']).next())
        .filter(|word| SKIPPED.contains(word))
        .collect();
    inputs.warnings.extend(
        options
            .into_iter()
            .map(|option| format!("{}: {option} has no effect", path.display())),
    );
}

/// Says in which file and line the innermost of nested errors is.
fn explain(error: &RequirementsTxtFileError, path: &Path, contents: &SourceCache) -> Error {
    let mut inner = error;
    while let Some(nested) = inner.source().and_then(|source| source.downcast_ref()) {
        inner = nested;
    }
    // uv keeps the file and the position to itself, but for this sentence.
    let sentence = inner.to_string();
    let named = paths_in(&sentence)
        .find_map(|path| contents.iter().find(|(known, _)| known.ends_with(path)));
    let line = named.and_then(|(_, content)| line_in(&sentence, content));
    let place = match named {
        Some((known, _)) if !known.ends_with(path) => Place::File(known.clone(), line),
        _ => Place::File(path.to_owned(), line),
    };
    if ["Remote file", "remote requirements file"]
        .iter()
        .any(|words| sentence.contains(words))
    {
        let message = "a URL is not followed: download the file and include that".to_owned();
        return Error::Invalid { place, message };
    }
    let message = match inner.source() {
        Some(source) => match source.downcast_ref::<Box<Pep508Error<VerbatimParsedUrl>>>() {
            Some(error) => parse_message(error),
            None => match source.downcast_ref::<Pep508Error<VerbatimParsedUrl>>() {
                Some(error) => parse_message(error),
                None => format!("{}: {source}", without_place(&sentence)),
            },
        },
        None => without_place(&sentence).to_owned(),
    };
    Error::Invalid { place, message }
}

/// The paths that a sentence names: in back quotes, or at its end with a line and a column.
fn paths_in(sentence: &str) -> impl Iterator<Item = &Path> {
    let quoted = sentence.split('`').skip(1).step_by(2);
    let last = sentence
        .rsplit_once(" at ")
        .and_then(|(_, path)| path.rsplitn(3, ':').nth(2));
    quoted.chain(last).map(Path::new)
}

/// `… at position 12`, `… at requirements.txt:3:1` and `… at line 3` all lead to a line.
fn line_in(sentence: &str, content: &str) -> Option<usize> {
    let number = |text: &str| -> Option<usize> {
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        text[..digits].parse().ok()
    };
    if let Some((_, rest)) = sentence.rsplit_once(" position ") {
        let before = content.get(..number(rest)?)?;
        return Some(before.matches('\n').count() + 1);
    }
    if let Some((_, rest)) = sentence.rsplit_once(" at line ") {
        return number(rest);
    }
    sentence.rsplit(':').nth(1).and_then(number)
}

/// The sentence up to where it names the place.
fn without_place(sentence: &str) -> &str {
    let end = [" in `", " at position", " at line", " at "]
        .iter()
        .filter_map(|mark| sentence.find(mark))
        .min()
        .unwrap_or(sentence.len());
    &sentence[..end]
}
