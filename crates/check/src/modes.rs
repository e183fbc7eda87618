//! Files with rights that an image seldom needs.

use contents::Kind;

use crate::image::Image;
use crate::report::{Code, Finding, Severity};

/// Anyone may write.
const WORLD: u32 = 0o002;
/// Only owners may remove: `/tmp`.
const STICKY: u32 = 0o1000;
const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

pub(crate) fn check(image: &Image<'_>, findings: &mut Vec<Finding>) {
    for found in image.contents.iter() {
        let mode = found.entry.mode;
        let note = |code, message: String| image.finding(Severity::Note, code, found.path, message);
        let is_open = match found.entry.kind {
            Kind::Directory => mode & WORLD != 0 && mode & STICKY == 0,
            Kind::File(_) => mode & WORLD != 0,
            _ => false,
        };
        if is_open {
            findings.push(
                note(
                    Code::WorldWritable,
                    format!("may be written by anyone (mode {mode:04o})"),
                )
                .hint("every process in the container can change it, whoever runs it"),
            );
        }
        if matches!(found.entry.kind, Kind::File(_)) && mode & (SETUID | SETGID) != 0 {
            let whose = if mode & SETUID == 0 { "group" } else { "user" };
            let id = if mode & SETUID == 0 {
                found.entry.gid
            } else {
                found.entry.uid
            };
            findings.push(
                note(
                    Code::Setuid,
                    format!("runs with the rights of {whose} {id} (mode {mode:04o})"),
                )
                .hint("containers with no-new-privileges run it without"),
            );
        }
    }
}
