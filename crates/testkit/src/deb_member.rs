//! Members of the archives that a package consists of: ar(5) outside, GNU tar inside, both as
//! dpkg-deb writes them.

use tar::{EntryType, Header};

/// A member of an inner archive.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    /// As in the archive, without the leading `./`.
    pub(crate) path: String,
    pub(crate) kind: MemberKind,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
}

#[derive(Debug, Clone)]
pub(crate) enum MemberKind {
    File(Vec<u8>),
    Directory,
    Symlink(String),
    Hardlink(String),
    Other(EntryType),
}

impl Member {
    pub(crate) fn directory(path: &str, mode: u32) -> Self {
        Self {
            path: path.to_owned(),
            kind: MemberKind::Directory,
            mode,
            owner: (0, 0),
        }
    }

    pub(crate) fn file(path: &str, bytes: &[u8], mode: u32) -> Self {
        let kind = MemberKind::File(bytes.to_vec());
        Self {
            path: path.to_owned(),
            kind,
            mode,
            owner: (0, 0),
        }
    }
}

/// A member of the outer archive (ar(5)).
pub(crate) fn put_ar_member(out: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let header = format!(
        "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
        0,
        0,
        0,
        100_644,
        bytes.len()
    );
    out.extend(header.as_bytes());
    out.extend(bytes);
    if bytes.len() % 2 == 1 {
        out.push(b'\n');
    }
}

/// A member of an inner archive, as dpkg-deb writes them: GNU format, with long names in `L` and `K`
/// members. Names are not checked: a test may want `../x`.
pub(crate) fn put_tar_member(out: &mut Vec<u8>, member: &Member) {
    let (kind, bytes, target) = match &member.kind {
        MemberKind::File(bytes) => (EntryType::Regular, bytes.as_slice(), None),
        MemberKind::Directory => (EntryType::Directory, &[][..], None),
        MemberKind::Symlink(target) => (EntryType::Symlink, &[][..], Some(target.clone())),
        MemberKind::Hardlink(target) => (EntryType::Link, &[][..], Some(format!("./{target}"))),
        MemberKind::Other(kind) => (*kind, &[][..], None),
    };
    let mut header = Header::new_gnu();
    let gnu = header.as_gnu_mut().expect("it was made as one");
    put_name(out, &mut gnu.name, &member.path, EntryType::GNULongName);
    if let Some(target) = &target {
        put_name(out, &mut gnu.linkname, target, EntryType::GNULongLink);
    }
    header.set_entry_type(kind);
    header.set_mode(member.mode);
    header.set_uid(member.owner.0.into());
    header.set_gid(member.owner.1.into());
    header.set_mtime(1_700_000_000);
    put_tar_block(out, &mut header, bytes);
}

fn put_name(out: &mut Vec<u8>, field: &mut [u8; 100], name: &str, kind: EntryType) {
    let short = &name.as_bytes()[..name.len().min(100)];
    field[..short.len()].copy_from_slice(short);
    if name.len() > 100 {
        let mut header = Header::new_gnu();
        let gnu = header.as_gnu_mut().expect("it was made as one");
        gnu.name[..13].copy_from_slice(b"././@LongLink");
        header.set_entry_type(kind);
        put_tar_block(out, &mut header, format!("{name}\0").as_bytes());
    }
}

fn put_tar_block(out: &mut Vec<u8>, header: &mut Header, bytes: &[u8]) {
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    out.extend(header.as_bytes());
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(512), 0);
}
