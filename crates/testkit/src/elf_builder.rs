//! ELF files made in memory, with the tables that a dynamic loader reads, and section headers so that
//! `readelf -dV` reads them too. There is no code in them.

const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;
const DT_SONAME: u64 = 14;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;
const DT_VERDEF: u64 = 0x6fff_fffc;
const DT_VERDEFNUM: u64 = 0x6fff_fffd;
const DT_VERNEED: u64 = 0x6fff_fffe;
const DT_VERNEEDNUM: u64 = 0x6fff_ffff;

const SHT_STRTAB: u32 = 3;
const SHT_DYNAMIC: u32 = 6;
const SHT_GNU_VERDEF: u32 = 0x6fff_fffd;
const SHT_GNU_VERNEED: u32 = 0x6fff_fffe;

/// Describes an ELF file; [`ElfBuilder::build`] gives its bytes.
#[derive(Debug, Clone)]
pub struct ElfBuilder {
    machine: u16,
    wide: bool,
    flags: u32,
    interpreter: Option<String>,
    soname: Option<String>,
    needed: Vec<String>,
    rpath: Option<String>,
    runpath: Option<String>,
    needs: Vec<(String, Vec<String>)>,
    defines: Vec<String>,
}

impl ElfBuilder {
    /// A shared object for one of Debian's architectures.
    pub fn new(architecture: &str) -> Self {
        let (wide, machine, flags) = match architecture {
            "amd64" => (true, 62, 0),
            "arm64" => (true, 183, 0),
            "armhf" => (false, 40, 0x0500_0400),
            other => panic!("no ELF machine is known for {other}"),
        };
        Self {
            machine,
            wide,
            flags,
            interpreter: None,
            soname: None,
            needed: Vec::new(),
            rpath: None,
            runpath: None,
            needs: Vec::new(),
            defines: Vec::new(),
        }
    }

    /// A program, by the loader that it asks for.
    #[must_use]
    pub fn interpreter(mut self, path: &str) -> Self {
        self.interpreter = Some(path.to_owned());
        self
    }

    /// `DT_SONAME`
    #[must_use]
    pub fn soname(mut self, name: &str) -> Self {
        self.soname = Some(name.to_owned());
        self
    }

    /// One more `DT_NEEDED`.
    #[must_use]
    pub fn needed(mut self, name: &str) -> Self {
        self.needed.push(name.to_owned());
        self
    }

    /// `DT_RPATH`
    #[must_use]
    pub fn rpath(mut self, path: &str) -> Self {
        self.rpath = Some(path.to_owned());
        self
    }

    /// `DT_RUNPATH`
    #[must_use]
    pub fn runpath(mut self, path: &str) -> Self {
        self.runpath = Some(path.to_owned());
        self
    }

    /// Versions that are needed of a library, which is needed as well.
    #[must_use]
    pub fn needs(mut self, library: &str, versions: &[&str]) -> Self {
        let versions = versions.iter().map(|&version| version.to_owned());
        self.needs.push((library.to_owned(), versions.collect()));
        self.needed(library)
    }

    /// Versions that it defines.
    #[must_use]
    pub fn defines(mut self, versions: &[&str]) -> Self {
        self.defines = versions.iter().map(|&version| version.to_owned()).collect();
        self
    }

    /// The file.
    pub fn build(&self) -> Vec<u8> {
        let mut strings = Strings(vec![0]);
        let mut dynamic: Vec<(u64, u64)> = Vec::new();
        for name in &self.needed {
            dynamic.push((DT_NEEDED, strings.add(name).into()));
        }
        for (tag, text) in [
            (DT_SONAME, &self.soname),
            (DT_RPATH, &self.rpath),
            (DT_RUNPATH, &self.runpath),
        ] {
            dynamic.extend(text.iter().map(|text| (tag, strings.add(text).into())));
        }
        let needs = self.verneed(&mut strings);
        let defines = self.verdef(&mut strings);

        let (header, segment, section) = if self.wide {
            (64, 56, 64)
        } else {
            (52, 32, 40)
        };
        let segments = 2 + usize::from(self.interpreter.is_some());
        let mut bytes = vec![0; header + segments * segment];
        let mut place = |content: &[u8]| {
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            let at = bytes.len();
            bytes.extend_from_slice(content);
            (at as u64, content.len() as u64)
        };
        let needs_at = place(&needs);
        let defines_at = place(&defines);
        let interpreter = self
            .interpreter
            .as_deref()
            .map(|path| [path.as_bytes(), b"\0"].concat());
        let interpreter_at = interpreter.map(|path| place(&path));
        let strings_at = place(&strings.0);
        dynamic.extend([(DT_STRTAB, strings_at.0), (DT_STRSZ, strings_at.1)]);
        if !self.needs.is_empty() {
            dynamic.extend([
                (DT_VERNEED, needs_at.0),
                (DT_VERNEEDNUM, self.needs.len() as u64),
            ]);
        }
        if !self.defines.is_empty() {
            let count = self.defines.len() as u64 + 1;
            dynamic.extend([(DT_VERDEF, defines_at.0), (DT_VERDEFNUM, count)]);
        }
        dynamic.push((0, 0));
        let mut table = Vec::new();
        for (tag, value) in &dynamic {
            self.word(&mut table, *tag);
            self.word(&mut table, *value);
        }
        let dynamic_at = place(&table);
        let names = b"\0.dynstr\0.dynamic\0.gnu.version_r\0.gnu.version_d\0.shstrtab\0";
        let names_at = place(names);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let sections_at = bytes.len() as u64;
        let size = bytes.len() as u64;

        let mut sections = vec![0; section];
        let entry = if self.wide { 16 } else { 8 };
        let counts = [self.needs.len() as u32, self.defines.len() as u32 + 1];
        self.section(&mut sections, (1, SHT_STRTAB), strings_at, (0, 0, 0));
        self.section(&mut sections, (9, SHT_DYNAMIC), dynamic_at, (1, 0, entry));
        let mut count = 3;
        if !self.needs.is_empty() {
            self.section(
                &mut sections,
                (18, SHT_GNU_VERNEED),
                needs_at,
                (1, counts[0], 0),
            );
            count += 1;
        }
        if !self.defines.is_empty() {
            self.section(
                &mut sections,
                (33, SHT_GNU_VERDEF),
                defines_at,
                (1, counts[1], 0),
            );
            count += 1;
        }
        self.section(&mut sections, (48, SHT_STRTAB), names_at, (0, 0, 0));
        bytes.extend(sections);

        let mut head = self.header(segments as u16, sections_at, count + 1);
        self.segment(&mut head, 1, (0, size));
        self.segment(&mut head, 2, dynamic_at);
        if let Some(at) = interpreter_at {
            self.segment(&mut head, 3, at);
        }
        bytes[..head.len()].copy_from_slice(&head);
        bytes
    }

    fn header(&self, segments: u16, sections_at: u64, sections: u16) -> Vec<u8> {
        let (header, segment, section) = if self.wide {
            (64, 56, 64)
        } else {
            (52, 32, 40)
        };
        let mut out = b"\x7fELF".to_vec();
        out.extend([if self.wide { 2 } else { 1 }, 1, 1]);
        out.resize(16, 0);
        out.extend(3u16.to_le_bytes());
        out.extend(self.machine.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        self.word(&mut out, 0);
        self.word(&mut out, header);
        self.word(&mut out, sections_at);
        out.extend(self.flags.to_le_bytes());
        for half in [
            header as u16,
            segment,
            segments,
            section,
            sections,
            sections - 1,
        ] {
            out.extend(half.to_le_bytes());
        }
        out
    }

    /// A program header: everything lies in memory as it does in the file.
    fn segment(&self, out: &mut Vec<u8>, kind: u32, (offset, size): (u64, u64)) {
        const READ: u32 = 4;
        out.extend(kind.to_le_bytes());
        if self.wide {
            out.extend(READ.to_le_bytes());
        }
        for word in [offset, offset, offset, size, size] {
            self.word(out, word);
        }
        if !self.wide {
            out.extend(READ.to_le_bytes());
        }
        self.word(out, 8);
    }

    fn section(
        &self,
        out: &mut Vec<u8>,
        (name, kind): (u32, u32),
        (offset, size): (u64, u64),
        (link, info, entry): (u32, u32, u64),
    ) {
        const ALLOCATED: u64 = 2;
        out.extend(name.to_le_bytes());
        out.extend(kind.to_le_bytes());
        for word in [ALLOCATED, offset, offset, size] {
            self.word(out, word);
        }
        out.extend(link.to_le_bytes());
        out.extend(info.to_le_bytes());
        self.word(out, 8);
        self.word(out, entry);
    }

    /// An address of the file's class.
    fn word(&self, out: &mut Vec<u8>, value: u64) {
        if self.wide {
            out.extend(value.to_le_bytes());
        } else {
            out.extend((value as u32).to_le_bytes());
        }
    }

    fn verneed(&self, strings: &mut Strings) -> Vec<u8> {
        let mut out = Vec::new();
        for (n, (library, versions)) in self.needs.iter().enumerate() {
            let size = 16 + 16 * versions.len() as u32;
            let next = if n + 1 == self.needs.len() { 0 } else { size };
            out.extend(1u16.to_le_bytes());
            out.extend((versions.len() as u16).to_le_bytes());
            for word in [strings.add(library), 16, next] {
                out.extend(word.to_le_bytes());
            }
            for (m, version) in versions.iter().enumerate() {
                out.extend(hash(version).to_le_bytes());
                out.extend(0u16.to_le_bytes());
                out.extend((m as u16 + 2).to_le_bytes());
                let next = if m + 1 == versions.len() { 0 } else { 16 };
                for word in [strings.add(version), next] {
                    out.extend(u32::to_le_bytes(word));
                }
            }
        }
        out
    }

    fn verdef(&self, strings: &mut Strings) -> Vec<u8> {
        const BASE: u16 = 1;
        if self.defines.is_empty() {
            return Vec::new();
        }
        let own = self.soname.as_deref().unwrap_or("made-up");
        let names: Vec<&str> = [own]
            .into_iter()
            .chain(self.defines.iter().map(String::as_str))
            .collect();
        let mut out = Vec::new();
        for (n, name) in names.iter().enumerate() {
            let flags = if n == 0 { BASE } else { 0 };
            for half in [1, flags, n as u16 + 1, 1] {
                out.extend(half.to_le_bytes());
            }
            let next = if n + 1 == names.len() { 0 } else { 28 };
            for word in [hash(name), 20, next, strings.add(name), 0] {
                out.extend(u32::to_le_bytes(word));
            }
        }
        out
    }
}

/// A string table.
struct Strings(Vec<u8>);

impl Strings {
    fn add(&mut self, text: &str) -> u32 {
        let at = self.0.len() as u32;
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        at
    }
}

/// The hash of the gABI.
fn hash(name: &str) -> u32 {
    name.bytes().fold(0, |hash: u32, byte| {
        let hash = (hash << 4).wrapping_add(byte.into());
        let high = hash & 0xf000_0000;
        (hash ^ (high >> 24)) & !high
    })
}
