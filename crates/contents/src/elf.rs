//! ELF files as the dynamic loader sees them: by their program headers and the dynamic section (gABI,
//! chapters 4 and 5; LSB, "Symbol Versioning"). Sections are not looked at, they may be stripped.

use std::fmt;
use std::iter;
use std::ops::Range;

use object::elf;
use object::pod::{Pod, from_bytes};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use serde::{Deserialize, Serialize};

use crate::kept::Kept;

/// The first bytes of each.
pub(crate) const MAGIC: [u8; 4] = elf::ELFMAG;

/// Bytes of a name: Linux takes no longer path.
const MAX_NAME: u64 = 4096;

/// Names and versions that are read of one file. The C library defines about 50.
const MAX_NAMES: usize = 20_000;

/// Bytes of a dynamic section.
const MAX_DYNAMIC: u64 = 1 << 20;

/// Bytes of the segment that is loaded first: names of symbols take tens of megabytes of the largest libraries,
/// and code may follow in the same segment.
const MAX_FIRST: u64 = 64 << 20;

/// Bytes of another segment that may be made of tables.
const MAX_SEGMENT: u64 = 32 << 20;

/// Bytes kept at least of a segment that is not made of tables, but may begin with some: code, and data for a GPU.
const MAX_OF_LARGE: u64 = 4 << 20;

/// What the loader needs to know of an ELF file.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// 32 or 64 bits.
    pub class: Class,
    /// Its byte order.
    pub endianness: Endianness,
    /// `e_machine`: 62 is x86-64, 183 is aarch64.
    pub machine: u16,
    /// `e_flags`; of arm, 0x400 is the hard-float calling convention.
    pub flags: u32,
    /// What it is for.
    pub kind: ElfKind,
    /// The program loader that it asks for (`PT_INTERP`).
    pub interpreter: Option<String>,
    /// What it calls itself (`DT_SONAME`).
    pub soname: Option<String>,
    /// Libraries that it needs (`DT_NEEDED`), in their order.
    pub needed: Vec<String>,
    /// Where it and what it loads look first (`DT_RPATH`), as written.
    pub rpath: Option<String>,
    /// Where it alone looks (`DT_RUNPATH`), as written.
    pub runpath: Option<String>,
    /// It does not look into default directories (`DF_1_NODEFLIB`).
    pub no_default_directories: bool,
    /// Versions that it needs of others (`DT_VERNEED`).
    pub needs: Vec<VersionNeed>,
    /// Versions that it defines (`DT_VERDEF`), without the one that is its own name.
    pub defines: Vec<String>,
    /// What of this could not be read, in words.
    pub fault: Option<String>,
}

/// Versions that a file needs of one library.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct VersionNeed {
    /// The library's name, as in `needed`.
    pub file: String,
    /// `GLIBC_2.34`
    pub versions: Vec<String>,
    /// Those without which the file loads all the same.
    pub weak: Vec<String>,
}

/// Bits of an address.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// 32 bits.
    Elf32,
    /// 64 bits.
    Elf64,
}

/// Byte orders.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Endianness {
    /// The lowest byte comes first.
    Little,
    /// The highest does.
    Big,
}

/// What an ELF file is for.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum ElfKind {
    /// A program at a fixed address (`ET_EXEC`).
    Executable,
    /// A library, or a program at any address (`ET_DYN`).
    Shared,
    /// To be linked (`ET_REL`): objects, kernel modules. No loader sees it.
    Relocatable,
    /// Something else, such as a core dump.
    Other,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Elf32 => "32-bit",
            Self::Elf64 => "64-bit",
        })
    }
}

impl Elf {
    /// Of the file that was kept. What cannot be read is left out and said in `fault`.
    pub(crate) fn read(kept: &Kept) -> Self {
        let big = kept.at(5, 1) == Some(&[elf::ELFDATA2MSB.0]);
        let is_32 = kept.at(4, 1) == Some(&[elf::ELFCLASS32.0]);
        let endianness = if big {
            Endianness::Big
        } else {
            Endianness::Little
        };
        let mut elf = Self {
            class: if is_32 { Class::Elf32 } else { Class::Elf64 },
            endianness,
            machine: 0,
            flags: 0,
            kind: ElfKind::Other,
            interpreter: None,
            soname: None,
            needed: Vec::new(),
            rpath: None,
            runpath: None,
            no_default_directories: false,
            needs: Vec::new(),
            defines: Vec::new(),
            fault: None,
        };
        let read = if is_32 {
            elf.fill::<elf::FileHeader32<object::Endianness>>(kept)
        } else {
            elf.fill::<elf::FileHeader64<object::Endianness>>(kept)
        };
        elf.fault = read.err().map(str::to_owned);
        elf
    }

    fn fill<H: FileHeader<Endian = object::Endianness>>(
        &mut self,
        kept: &Kept,
    ) -> Result<(), &'static str> {
        let header = H::parse(kept.head()).map_err(|_| "its header is damaged")?;
        let endian = header.endian().map_err(|_| "its header is damaged")?;
        self.machine = header.e_machine(endian).0;
        self.flags = header.e_flags(endian).0;
        self.kind = match header.e_type(endian) {
            elf::ET_EXEC => ElfKind::Executable,
            elf::ET_DYN => ElfKind::Shared,
            elf::ET_REL => ElfKind::Relocatable,
            _ => ElfKind::Other,
        };
        if !matches!(self.kind, ElfKind::Executable | ElfKind::Shared) {
            return Ok(());
        }
        let segments = header
            .program_headers(endian, kept.head())
            .map_err(|_| "its program headers are damaged")?;
        let file = Image::<H> {
            kept,
            endian,
            segments,
        };
        for segment in segments {
            let (offset, size) = file.range_of(segment);
            match segment.p_type(endian) {
                elf::PT_INTERP => {
                    let path = kept.text(offset, size.min(MAX_NAME));
                    self.interpreter = Some(lossy(path.ok_or("its interpreter is cut off")?));
                }
                elf::PT_DYNAMIC => {
                    let bytes = kept.at(offset, size.min(MAX_DYNAMIC));
                    let bytes = bytes.ok_or("its dynamic section is cut off")?;
                    self.dynamic(&file, bytes)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn dynamic<H: FileHeader<Endian = object::Endianness>>(
        &mut self,
        file: &Image<'_, H>,
        bytes: &[u8],
    ) -> Result<(), &'static str> {
        let mut entries: Vec<(i64, u64)> = Vec::new();
        for chunk in bytes.chunks_exact(size_of::<H::Dyn>()) {
            let (entry, _) =
                from_bytes::<H::Dyn>(chunk).map_err(|()| "its dynamic section is damaged")?;
            if entry.tag(file.endian) == elf::DT_NULL {
                break;
            }
            entries.push((entry.tag(file.endian).0, entry.val(file.endian)));
        }
        let value = |tag: elf::DynamicTag| {
            let found = entries.iter().find(|(found, _)| *found == tag.0);
            found.map(|(_, value)| *value)
        };
        let Some(strings) = value(elf::DT_STRTAB) else {
            return Ok(());
        };
        let strings = file
            .offset_of(strings)
            .ok_or("its table of names is outside")?;
        let names = Names {
            kept: file.kept,
            strings,
        };
        for (tag, value) in &entries {
            let name = || names.get(*value).map(Some);
            match elf::DynamicTag(*tag) {
                elf::DT_NEEDED if self.needed.len() < MAX_NAMES => {
                    self.needed.push(names.get(*value)?);
                }
                elf::DT_SONAME => self.soname = name()?,
                elf::DT_RPATH => self.rpath = name()?,
                elf::DT_RUNPATH => self.runpath = name()?,
                elf::DT_FLAGS_1 => {
                    self.no_default_directories = value & elf::DF_1_NODEFLIB.0 != 0;
                }
                _ => {}
            }
        }
        if let Some(address) = value(elf::DT_VERNEED) {
            self.needs = file
                .needs(address, &names)
                .ok_or("its needed versions are damaged")?;
        }
        if let Some(address) = value(elf::DT_VERDEF) {
            self.defines = file
                .defines(address, &names)
                .ok_or("its defined versions are damaged")?;
        }
        Ok(())
    }
}

/// Where in a file the loader's tables can lie, by its beginning: in what is loaded, and of that at the start of
/// what holds code as well.
pub(crate) fn parts(head: &[u8]) -> Vec<Range<u64>> {
    fn find<H: FileHeader<Endian = object::Endianness>>(head: &[u8]) -> Option<Vec<Range<u64>>> {
        let header = H::parse(head).ok()?;
        let endian = header.endian().ok()?;
        let segments = header.program_headers(endian, head).ok()?;
        let mut parts = Vec::new();
        let mut is_first = true;
        for segment in segments {
            let start: u64 = segment.p_offset(endian).into();
            let size: u64 = segment.p_filesz(endian).into();
            let is_code = segment.p_flags(endian).0 & elf::PF_X.0 != 0;
            let limit = match segment.p_type(endian) {
                elf::PT_LOAD if std::mem::take(&mut is_first) => {
                    // Linkers put tables before code, and the entry is in the code; 0 is none.
                    let address: u64 = segment.p_vaddr(endian).into();
                    let entry: u64 = header.e_entry(endian).into();
                    let before = entry
                        .checked_sub(address)
                        .filter(|it| is_code && (1..size).contains(it));
                    before.map_or(MAX_FIRST, |it| it.clamp(MAX_OF_LARGE, MAX_FIRST))
                }
                elf::PT_LOAD if !is_code && size <= MAX_SEGMENT => size,
                elf::PT_LOAD => MAX_OF_LARGE,
                elf::PT_DYNAMIC => MAX_DYNAMIC,
                elf::PT_INTERP => MAX_NAME,
                _ => 0,
            };
            parts.push(start..start.saturating_add(size.min(limit)));
        }
        Some(parts)
    }
    let found = if head.get(4) == Some(&elf::ELFCLASS32.0) {
        find::<elf::FileHeader32<object::Endianness>>(head)
    } else {
        find::<elf::FileHeader64<object::Endianness>>(head)
    };
    // Its program headers lie elsewhere: patchelf may move them to the end of a file.
    found.unwrap_or_else(|| iter::once(0..MAX_FIRST).collect())
}

/// A file and where its parts are loaded.
struct Image<'a, H: FileHeader> {
    kept: &'a Kept,
    endian: H::Endian,
    segments: &'a [H::ProgramHeader],
}

impl<H: FileHeader<Endian = object::Endianness>> Image<'_, H> {
    fn range_of(&self, segment: &H::ProgramHeader) -> (u64, u64) {
        (
            segment.p_offset(self.endian).into(),
            segment.p_filesz(self.endian).into(),
        )
    }

    /// Where in the file that lies which will be at `address`.
    fn offset_of(&self, address: u64) -> Option<u64> {
        let mut loaded = self
            .segments
            .iter()
            .filter(|segment| segment.p_type(self.endian) == elf::PT_LOAD);
        loaded.find_map(|segment| {
            let start: u64 = segment.p_vaddr(self.endian).into();
            let (offset, size) = self.range_of(segment);
            let inside = address.checked_sub(start).filter(|inside| *inside < size)?;
            offset.checked_add(inside)
        })
    }

    fn record<T: Pod + Copy>(&self, offset: u64) -> Option<T> {
        let bytes = self.kept.at(offset, size_of::<T>() as u64)?;
        from_bytes::<T>(bytes).ok().map(|(record, _)| *record)
    }

    fn needs(&self, address: u64, names: &Names<'_>) -> Option<Vec<VersionNeed>> {
        let mut at = self.offset_of(address)?;
        let mut needs = Vec::new();
        let mut count = 0;
        loop {
            let record: elf::Verneed<object::Endianness> = self.record(at)?;
            let mut need = VersionNeed {
                file: names.get(record.vn_file.get(self.endian).into()).ok()?,
                versions: Vec::new(),
                weak: Vec::new(),
            };
            let mut inner = at.checked_add(record.vn_aux.get(self.endian).into())?;
            for _ in 0..record.vn_cnt.get(self.endian) {
                let version: elf::Vernaux<object::Endianness> = self.record(inner)?;
                let name = names.get(version.vna_name.get(self.endian).into()).ok()?;
                let flags = version.vna_flags.get(self.endian).0;
                match flags & elf::VER_FLG_WEAK.0 {
                    0 => need.versions.push(name),
                    _ => need.weak.push(name),
                }
                count += 1;
                inner = inner.checked_add(version.vna_next.get(self.endian).into())?;
            }
            needs.push(need);
            let next = record.vn_next.get(self.endian);
            if next == 0 || count > MAX_NAMES || needs.len() > MAX_NAMES {
                return Some(needs);
            }
            at = at.checked_add(next.into())?;
        }
    }

    fn defines(&self, address: u64, names: &Names<'_>) -> Option<Vec<String>> {
        let mut at = self.offset_of(address)?;
        let mut defines = Vec::new();
        for _ in 0..MAX_NAMES {
            let record: elf::Verdef<object::Endianness> = self.record(at)?;
            if record.vd_flags.get(self.endian).0 & elf::VER_FLG_BASE.0 == 0 {
                let first = at.checked_add(record.vd_aux.get(self.endian).into())?;
                let version: elf::Verdaux<object::Endianness> = self.record(first)?;
                defines.push(names.get(version.vda_name.get(self.endian).into()).ok()?);
            }
            let next = record.vd_next.get(self.endian);
            if next == 0 {
                break;
            }
            at = at.checked_add(next.into())?;
        }
        Some(defines)
    }
}

/// The names of the dynamic section.
struct Names<'a> {
    kept: &'a Kept,
    /// Their offset in the file.
    strings: u64,
}

impl Names<'_> {
    fn get(&self, index: u64) -> Result<String, &'static str> {
        let offset = self.strings.checked_add(index);
        let text = offset.and_then(|offset| self.kept.text(offset, MAX_NAME));
        text.map(lossy).ok_or("its table of names is cut off")
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
