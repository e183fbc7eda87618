//! Release files: what a suite consists of, signed. The format is that of
//! the Debian wiki, DebianRepository/Format; the signature, a clear-signed text (RFC 9580, 7).

use std::collections::BTreeMap;

use oci::Digest;
use pgp::composed::CleartextSignedMessage;

pub use crate::keyring::SignatureFault;

use crate::control::{self, Stanza};
use crate::keyring::CLOCK_TOLERANCE;
use crate::{Error, Keyring, Moment, ValueError, date};

const FILE: &str = "InRelease";

/// What a verified `InRelease` file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// `trixie`, `stable-security`…: the name by role, in Debian.
    pub suite: String,
    /// `trixie-security`: the name that stays.
    pub codename: String,
    /// When it was made, in seconds since 1970.
    pub date: u64,
    /// Until when it may be used, where it says so.
    pub valid_until: Option<u64>,
    /// Whether files can be had by their sha256, which a mirror in the midst of an update needs.
    pub by_hash: bool,
    /// The fingerprints of the certificates whose good signatures it has.
    pub signed_by: Vec<String>,
    files: BTreeMap<String, ReleaseFile>,
}

/// A file of a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseFile {
    /// Of the file as it is fetched.
    pub sha256: Digest,
    /// In bytes.
    pub size: u64,
}

impl Release {
    /// The file at `path` below the suite's directory: `main/binary-arm64/Packages.xz`.
    pub fn file(&self, path: &str) -> Option<&ReleaseFile> {
        self.files.get(path)
    }

    /// The path and the facts of a component's `Packages`, in the best compression we read.
    pub fn packages(&self, component: &str, architecture: &str) -> Option<(String, ReleaseFile)> {
        [".xz", ".gz", ""].iter().find_map(|compression| {
            let path = format!("{component}/binary-{architecture}/Packages{compression}");
            self.file(&path).map(|file| (path, *file))
        })
    }

    /// The same of a flat repository, which has one list for all.
    pub fn flat_packages(&self) -> Option<(String, ReleaseFile)> {
        [".xz", ".gz", ""].iter().find_map(|compression| {
            let path = format!("Packages{compression}");
            let file = self.file(&path).or_else(|| self.file(&format!("./{path}")));
            file.map(|file| (path, *file))
        })
    }

    /// Where to fetch the file at `path`, below the suite's directory: by its hash where the archive
    /// has that, so that it fits this release file even while the mirror is updated.
    pub fn fetch_path(&self, path: &str) -> Option<String> {
        let file = self.file(path)?;
        if !self.by_hash {
            return Some(path.to_owned());
        }
        let name_at = path.rfind('/').map_or(0, |slash| slash + 1);
        Some(format!(
            "{}by-hash/SHA256/{}",
            &path[..name_at],
            file.sha256.hex()
        ))
    }

    /// Whether this is the suite that was asked for: an old suite's file is as well signed, and a
    /// mirror could serve it in place of a newer one's.
    pub fn check_suite(&self, wanted: &str) -> Result<(), Error> {
        // `trixie/updates` is how security suites were called until buster.
        let wanted_name = wanted.split_once('/').map_or(wanted, |(name, _)| name);
        if [&self.suite, &self.codename]
            .into_iter()
            .any(|name| name == wanted_name || name == wanted)
        {
            return Ok(());
        }
        Err(Error::OtherSuite {
            wanted: wanted.to_owned(),
            suite: self.suite.clone(),
            codename: self.codename.clone(),
        })
    }

    fn parse(text: &str, signed_by: Vec<String>) -> Result<(Self, Stanza), Error> {
        let stanza = control::single(text.as_bytes(), FILE)?;
        let moment = |field| {
            let parsed = stanza.get(field).map(date::parse).transpose();
            parsed.map_err(|source| fault(&stanza, field, source))
        };
        let name = |field| stanza.get(field).unwrap_or_default().to_owned();
        let missing = |field| Error::MissingField {
            file: FILE.to_owned(),
            line: stanza.line,
            field,
        };
        let list = stanza.get("SHA256").ok_or(missing("SHA256"))?;
        let release = Self {
            suite: name("Suite"),
            codename: name("Codename"),
            date: moment("Date")?.ok_or(missing("Date"))?,
            valid_until: moment("Valid-Until")?,
            by_hash: stanza.get("Acquire-By-Hash") == Some("yes"),
            signed_by,
            files: parse_files(list).map_err(|source| fault(&stanza, "SHA256", source))?,
        };
        Ok((release, stanza))
    }

    fn check_dates(&self, stanza: &Stanza, now: u64) -> Result<(), Error> {
        let text = |field| stanza.get(field).unwrap_or_default().to_owned();
        let suite = if self.codename.is_empty() {
            &self.suite
        } else {
            &self.codename
        };
        let (suite, moment) = (suite.clone(), Moment(now));
        if self.date > now.saturating_add(CLOCK_TOLERANCE) {
            return Err(Error::NotYetValid {
                suite,
                date: text("Date"),
                now: moment,
            });
        }
        match self.valid_until {
            Some(until) if now > until => Err(Error::Expired {
                suite,
                until: text("Valid-Until"),
                now: moment,
            }),
            _ => Ok(()),
        }
    }
}

fn fault(stanza: &Stanza, field: &'static str, source: ValueError) -> Error {
    Error::Field {
        file: FILE.to_owned(),
        line: stanza.line,
        field,
        source,
    }
}

fn parse_files(list: &str) -> Result<BTreeMap<String, ReleaseFile>, ValueError> {
    let mut files = BTreeMap::new();
    for line in list.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [sha256, size, path] = words[..] else {
            return Err(ValueError::FileLine(line.to_owned()));
        };
        let size = size
            .parse()
            .map_err(|_| ValueError::Size(size.to_owned()))?;
        let file = ReleaseFile {
            sha256: Digest::from_hex(sha256)?,
            size,
        };
        if files
            .insert(path.to_owned(), file)
            .is_some_and(|other| other != file)
        {
            return Err(ValueError::FileTwice(path.to_owned()));
        }
    }
    Ok(files)
}

/// Verifies an `InRelease` file and reads what is signed of it. With `now`, in seconds since 1970,
/// its dates and its signers' keys have to be valid then; without, an old file is accepted.
pub fn verify_in_release(
    bytes: &[u8],
    keyring: &Keyring,
    now: Option<u64>,
) -> Result<Release, Error> {
    let parsed = CleartextSignedMessage::from_armor(bytes);
    let (message, _) = parsed.map_err(|source| Error::NotSigned { source })?;
    // Not the file's text: only this is what was signed.
    let text = message.signed_text();
    let (mut signed_by, mut signatures) = (Vec::new(), Vec::new());
    for signature in message.signatures() {
        match keyring.verify(signature, &text, now) {
            Ok(certificate) => signed_by.push(certificate),
            Err(fault) => signatures.push(fault),
        }
    }
    if signed_by.is_empty() {
        return Err(Error::Untrusted { signatures });
    }
    let (release, stanza) = Release::parse(&text, signed_by)?;
    if let Some(now) = now {
        release.check_dates(&stanza, now)?;
    }
    Ok(release)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::keyring::tests::{BORN, DAY, clear_signed, key, keyring, sign};

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    /// When the file of these tests was made, and until when it is valid.
    const MADE: u32 = BORN + 10 * DAY;
    const UNTIL: u32 = BORN + 17 * DAY;

    fn text() -> String {
        format!(
            "Origin: Test\nSuite: stable-security\nCodename: trixie-security\n\
             Date: Sun, 11 Jan 2026 00:00:00 UTC\nValid-Until: Sun, 18 Jan 2026 00:00:00 UTC\n\
             Acquire-By-Hash: yes\nMD5Sum:\n d41d8cd98f00b204e9800998ecf8427e 0 main/binary-arm64/Packages.xz\n\
             SHA256:\n {HEX}        0 main/binary-arm64/Packages.xz\n {HEX} 12 main/binary-arm64/Packages.gz\n\
             \x20{HEX} 12 main/binary-armhf/Packages.gz\n {HEX} 7 main/binary-riscv64/Packages\n {HEX} 5 top\n"
        )
    }

    fn signed(text: &str) -> Vec<u8> {
        clear_signed(text, vec![sign(&key(1).primary_key, text, MADE)])
    }

    fn verify(bytes: &[u8], now: Option<u32>) -> Result<Release, Error> {
        verify_in_release(bytes, &keyring(&[&key(1)]), now.map(u64::from))
    }

    /// The message and that of its source.
    fn message(bytes: &[u8], now: Option<u32>) -> String {
        let error = verify(bytes, now).unwrap_err();
        let source = error
            .source()
            .map_or(String::new(), |source| format!(": {source}"));
        format!("{error}{source}")
    }

    #[test]
    fn reads_what_is_signed() {
        let release = verify(&signed(&text()), Some(MADE)).unwrap();
        assert_eq!(
            (release.suite.as_str(), release.codename.as_str()),
            ("stable-security", "trixie-security")
        );
        assert_eq!(
            (release.date, release.valid_until),
            (MADE.into(), Some(UNTIL.into()))
        );
        assert_eq!(
            release.signed_by,
            keyring(&[&key(1)]).fingerprints().collect::<Vec<_>>()
        );
        let file = ReleaseFile {
            sha256: Digest::of(b""),
            size: 0,
        };
        assert_eq!(release.file("main/binary-arm64/Packages.xz"), Some(&file));
        assert_eq!(release.file("main/binary-arm64/Packages"), None);
    }

    #[test]
    fn finds_packages_in_the_best_compression() {
        let release = verify(&signed(&text()), None).unwrap();
        let path = |architecture| release.packages("main", architecture).map(|(path, _)| path);
        assert_eq!(
            path("arm64").as_deref(),
            Some("main/binary-arm64/Packages.xz")
        );
        assert_eq!(
            path("armhf").as_deref(),
            Some("main/binary-armhf/Packages.gz")
        );
        assert_eq!(
            path("riscv64").as_deref(),
            Some("main/binary-riscv64/Packages")
        );
        assert_eq!(path("amd64"), None);
    }

    #[test]
    fn fetches_by_hash_where_the_archive_has_that() {
        let path = "main/binary-arm64/Packages.xz";
        let by_hash = verify(&signed(&text()), None).unwrap();
        let expect = format!("main/binary-arm64/by-hash/SHA256/{HEX}");
        assert_eq!(by_hash.fetch_path(path), Some(expect));
        assert_eq!(
            by_hash.fetch_path("top"),
            Some(format!("by-hash/SHA256/{HEX}"))
        );
        assert_eq!(by_hash.fetch_path("other"), None);
        let plain = verify(&signed(&text().replace("Acquire-By-Hash: yes\n", "")), None).unwrap();
        assert_eq!(plain.fetch_path(path).as_deref(), Some(path));
    }

    #[test]
    fn a_tampered_text_is_refused() {
        let tampered = String::from_utf8(signed(&text()))
            .unwrap()
            .replace(" 12 ", " 13 ");
        insta::assert_snapshot!(message(tampered.as_bytes(), Some(MADE)), @r"
        InRelease has no good signature by a trusted key
          C35C86738FC6B93482C715E3C1D6548FD992ADA9 has not signed this text
        ");
    }

    #[test]
    fn what_is_not_signed_is_refused_or_not_read() {
        let good = String::from_utf8(signed(&text())).unwrap();
        let after = format!("{good}\nSuite: evil\n");
        let before = format!("Suite: evil\n\n{good}");
        let header = good.replacen("Hash: SHA256\n", "Hash: SHA256\nSuite: evil\n", 1);
        for bytes in [after, before, header, text(), String::new()] {
            let error = verify(bytes.as_bytes(), None).unwrap_err();
            assert!(matches!(error, Error::NotSigned { .. }), "{error}");
        }
        // Blanks at the ends of lines are not signed, and not read either.
        let blanks = good.replace("Suite: stable-security\n", "Suite: stable-security \t\n");
        assert_eq!(
            verify(blanks.as_bytes(), None).unwrap().suite,
            "stable-security"
        );
    }

    #[test]
    fn a_wrong_key_is_refused() {
        let other = clear_signed(&text(), vec![sign(&key(2).primary_key, &text(), MADE)]);
        insta::assert_snapshot!(message(&other, Some(MADE)), @r"
        InRelease has no good signature by a trusted key
          AAEB3D54AAAA39D6AF2D5B8E866BAEA855D82B05 is not in the keyring
        ");
        insta::assert_snapshot!(message(&clear_signed(&text(), Vec::new()), Some(MADE)), @"InRelease has no good signature by a trusted key");
    }

    #[test]
    fn one_good_signature_of_two_is_enough() {
        let text = text();
        let (known, other) = (key(1), key(2));
        let good = sign(&known.primary_key, &text, MADE);
        for second in [
            sign(&other.primary_key, &text, MADE),
            sign(&known.primary_key, "else", MADE),
        ] {
            for signatures in [
                vec![good.clone(), second.clone()],
                vec![second, good.clone()],
            ] {
                let release = verify(&clear_signed(&text, signatures), Some(MADE)).unwrap();
                assert_eq!(release.signed_by.len(), 1);
            }
        }
    }

    #[test]
    fn an_old_file_is_refused_unless_told_otherwise() {
        let bytes = signed(&text());
        assert!(verify(&bytes, Some(UNTIL)).is_ok());
        insta::assert_snapshot!(message(&bytes, Some(UNTIL + 1)), @"the release file of trixie-security was valid until Sun, 18 Jan 2026 00:00:00 UTC, and it is 2026-01-18 00:00:01 UTC now");
        assert!(verify(&bytes, None).is_ok());
        let forever = text().replace("Valid-Until: Sun, 18 Jan 2026 00:00:00 UTC\n", "");
        assert!(verify(&signed(&forever), Some(UNTIL + 1)).is_ok());
    }

    #[test]
    fn a_file_of_the_future_is_refused_unless_told_otherwise() {
        let early = clear_signed(&text(), vec![sign(&key(1).primary_key, &text(), BORN)]);
        assert!(verify(&early, Some(MADE - 300)).is_ok());
        insta::assert_snapshot!(message(&early, Some(MADE - 301)), @"the release file of trixie-security is dated Sun, 11 Jan 2026 00:00:00 UTC, and it is only 2026-01-10 23:54:59 UTC now");
        assert!(verify(&early, None).is_ok());
    }

    #[test]
    fn another_suite_is_refused() {
        let release = verify(&signed(&text()), None).unwrap();
        for suite in ["trixie-security", "stable-security"] {
            release.check_suite(suite).unwrap();
        }
        insta::assert_snapshot!(release.check_suite("forky-security").unwrap_err(), @"asked for suite forky-security, got the release file of stable-security (codename trixie-security)");
    }

    #[test]
    fn says_what_is_wrong_with_the_text() {
        let check = |from: &str, to: &str| message(&signed(&text().replace(from, to)), None);
        insta::assert_snapshot!(check("Date: Sun, 11 Jan 2026", "Date: 2026-01-11"), @"InRelease, line 1: field `Date`: `2026-01-11 00:00:00 UTC` is not a date like `Sat, 12 Sep 2026 07:55:41 UTC`");
        insta::assert_snapshot!(check("Date: Sun", "When: Sun"), @"InRelease, line 1: the stanza has no field `Date`");
        insta::assert_snapshot!(check("SHA256:", "SHA512:"), @"InRelease, line 1: the stanza has no field `SHA256`");
        insta::assert_snapshot!(check(" 12 ", " x "), @"InRelease, line 1: field `SHA256`: `x` is not a size");
        insta::assert_snapshot!(check(" 12 ", " "), @"InRelease, line 1: field `SHA256`: `e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 main/binary-arm64/Packages.gz` is not a line of checksum, size and path");
        insta::assert_snapshot!(check(&format!("{HEX} 5"), "e3 5"), @"InRelease, line 1: field `SHA256`: `e3` is not a digest: expected `sha256:` and 64 lower-case hexadecimal digits");
        insta::assert_snapshot!(check("5 top", "5 main/binary-arm64/Packages.gz"), @"InRelease, line 1: field `SHA256`: `main/binary-arm64/Packages.gz` is listed twice with different checksums");
        insta::assert_snapshot!(check("Acquire", "\nAcquire"), @"InRelease, line 7: expected one stanza only");
    }

    proptest! {
        #[test]
        fn no_changed_byte_gets_through(at in any::<Index>(), byte in any::<u8>()) {
            let good = signed(&text());
            let mut bytes = good.clone();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(release) = verify(&bytes, None) {
                prop_assert_eq!(release, verify(&good, None).unwrap());
            }
        }
    }
}
