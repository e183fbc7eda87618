//! What is known of libraries and distributions, as data. Where a rule turns a fault into a note, the
//! rule's text is here and in docs/check.md.

/// Debian's packages of libraries that wheels often expect of the system.
const PACKAGES: [(&str, &str); 73] = [
    ("libGL.so.1", "libgl1"),
    ("libGLX.so.0", "libglx0"),
    ("libEGL.so.1", "libegl1"),
    ("libGLdispatch.so.0", "libglvnd0"),
    ("libOpenGL.so.0", "libopengl0"),
    ("libICE.so.6", "libice6"),
    ("libSM.so.6", "libsm6"),
    ("libX11.so.6", "libx11-6"),
    ("libX11-xcb.so.1", "libx11-xcb1"),
    ("libXau.so.6", "libxau6"),
    ("libXcomposite.so.1", "libxcomposite1"),
    ("libXdamage.so.1", "libxdamage1"),
    ("libXext.so.6", "libxext6"),
    ("libXfixes.so.3", "libxfixes3"),
    ("libXft.so.2", "libxft2"),
    ("libXi.so.6", "libxi6"),
    ("libXrandr.so.2", "libxrandr2"),
    ("libXrender.so.1", "libxrender1"),
    ("libXss.so.1", "libxss1"),
    ("libXtst.so.6", "libxtst6"),
    ("libasound.so.2", "libasound2t64"),
    ("libatlas.so.3", "libatlas3-base"),
    ("libblas.so.3", "libblas3"),
    ("libbz2.so.1.0", "libbz2-1.0"),
    ("libcairo.so.2", "libcairo2"),
    ("libcrypt.so.1", "libcrypt1"),
    ("libcrypto.so.3", "libssl3t64"),
    ("libcurl.so.4", "libcurl4t64"),
    ("libdbus-1.so.3", "libdbus-1-3"),
    ("libexpat.so.1", "libexpat1"),
    ("libffi.so.8", "libffi8"),
    ("libfontconfig.so.1", "libfontconfig1"),
    ("libfreetype.so.6", "libfreetype6"),
    ("libgcc_s.so.1", "libgcc-s1"),
    ("libgdbm.so.6", "libgdbm6t64"),
    ("libgfortran.so.5", "libgfortran5"),
    ("libglib-2.0.so.0", "libglib2.0-0t64"),
    ("libgthread-2.0.so.0", "libglib2.0-0t64"),
    ("libgobject-2.0.so.0", "libglib2.0-0t64"),
    ("libgomp.so.1", "libgomp1"),
    ("libgssapi_krb5.so.2", "libgssapi-krb5-2"),
    ("libhdf5_serial.so.310", "libhdf5-310"),
    ("libkrb5.so.3", "libkrb5-3"),
    ("liblapack.so.3", "liblapack3"),
    ("libldap.so.2", "libldap2"),
    ("liblzma.so.5", "liblzma5"),
    ("libmagic.so.1", "libmagic1t64"),
    ("libmariadb.so.3", "libmariadb3"),
    ("libnspr4.so", "libnspr4"),
    ("libnss3.so", "libnss3"),
    ("libnuma.so.1", "libnuma1"),
    ("libodbc.so.2", "libodbc2"),
    ("libopenblas.so.0", "libopenblas0"),
    ("libpango-1.0.so.0", "libpango-1.0-0"),
    ("libportaudio.so.2", "libportaudio2"),
    ("libpq.so.5", "libpq5"),
    ("libquadmath.so.0", "libquadmath0"),
    ("libsasl2.so.2", "libsasl2-2"),
    ("libsndfile.so.1", "libsndfile1"),
    ("libsodium.so.23", "libsodium23"),
    ("libsqlite3.so.0", "libsqlite3-0"),
    ("libssl.so.3", "libssl3t64"),
    ("libstdc++.so.6", "libstdc++6"),
    ("libtcl8.6.so", "libtcl8.6"),
    ("libtk8.6.so", "libtk8.6"),
    ("libudev.so.1", "libudev1"),
    ("libusb-1.0.so.0", "libusb-1.0-0"),
    ("libuuid.so.1", "libuuid1"),
    ("libxcb.so.1", "libxcb1"),
    ("libxml2.so.2", "libxml2"),
    ("libxslt.so.1", "libxslt1.1"),
    ("libz.so.1", "zlib1g"),
    ("libzbar.so.0", "libzbar0t64"),
];

/// Releases by what they bring: glibc, `GLIBCXX`, `CXXABI`.
const RELEASES: [(&str, &str, &str, &str); 7] = [
    ("Debian 10 (buster)", "2.28", "3.4.25", "1.3.11"),
    ("Debian 11 (bullseye)", "2.31", "3.4.28", "1.3.12"),
    ("Ubuntu 20.04", "2.31", "3.4.28", "1.3.12"),
    ("Ubuntu 22.04", "2.35", "3.4.30", "1.3.13"),
    ("Debian 12 (bookworm)", "2.36", "3.4.30", "1.3.13"),
    ("Ubuntu 24.04", "2.39", "3.4.33", "1.3.14"),
    ("Debian 13 (trixie)", "2.41", "3.4.33", "1.3.15"),
];

/// Where packages keep libraries that their code loads before the modules that need them, and the packages
/// whose import does so.
const LOADED: [(&str, &[&str]); 5] = [
    ("/torch/lib/", &["torch"]),
    (
        "/nvidia/",
        &[
            "torch",
            "tensorflow",
            "jax-cuda12-plugin",
            "cupy-cuda12x",
            "onnxruntime-gpu",
        ],
    ),
    ("/cusparselt/lib/", &["torch"]),
    ("/tensorflow/", &["tensorflow", "tensorflow-cpu"]),
    ("/pyarrow/", &["pyarrow"]),
];

/// What NVIDIA's libraries open where the machine has the hardware or the program asks for it, and do without
/// elsewhere: the beginnings of names below `nvidia/`.
const TRANSPORTS: [&str; 3] = [
    "libcufile_rdma.",
    "nvshmem_bootstrap_",
    "nvshmem_transport_",
];

/// What compilers bring with them, by the beginnings of names: auditwheel adds a hash to the rest.
const RUNTIMES: [&str; 6] = [
    "libatomic",
    "libgcc_s",
    "libgfortran",
    "libgomp",
    "libquadmath",
    "libstdc++",
];

/// Packages whose Python code opens a library of the system by its name, at import.
const OPENED: [(&str, &str); 9] = [
    ("cairocffi", "libcairo.so.2"),
    ("pysodium", "libsodium.so.23"),
    ("python-magic", "libmagic.so.1"),
    ("pyudev", "libudev.so.1"),
    ("pyzbar", "libzbar.so.0"),
    ("sounddevice", "libportaudio.so.2"),
    ("soundfile", "libsndfile.so.1"),
    ("weasyprint", "libgobject-2.0.so.0"),
    ("weasyprint", "libpango-1.0.so.0"),
];

/// The libraries that the code of a package opens by name.
pub(crate) fn opened_by(package: &str) -> impl Iterator<Item = &'static str> {
    let found = OPENED.iter().filter(move |(name, _)| *name == package);
    found.map(|(_, library)| *library)
}

/// The Debian package that has a library.
pub(crate) fn package_of(library: &str) -> Option<&'static str> {
    let found = PACKAGES.iter().find(|(name, _)| *name == library);
    found.map(|(_, package)| *package)
}

/// The packages whose import loads the libraries in the directory of `path`.
pub(crate) fn loaders_of(path: &str) -> Option<&'static [&'static str]> {
    let (_, inner) = path.split_once("-packages")?;
    let found = LOADED
        .iter()
        .find(|(directory, _)| inner.starts_with(directory));
    found.map(|(_, packages)| *packages)
}

/// Why a library that is missing is no fault, for what it is.
pub(crate) fn benign_library(library: &str) -> Option<&'static str> {
    let driver = library.starts_with("libcuda.so")
        || library.starts_with("libnvidia-")
        || library.starts_with("libnvcuvid.so")
        || library.starts_with("libnvoptix.so")
        || library.starts_with("libcudadebugger.so");
    driver.then_some("a driver's library comes with the driver of the host that runs the container")
}

/// Why a library that is missing is no fault, for the file that needs it.
pub(crate) fn benign_file(path: &str, is_wheel: bool) -> Option<&'static str> {
    const OPTIONAL: [&str; 7] = [
        "_tkinter",
        "_curses",
        "_curses_panel",
        "_dbm",
        "_gdbm",
        "readline",
        "nis",
    ];
    let (directory, name) = facts::path::split(path);
    let module = name.split('.').next().unwrap_or_default();
    if directory.ends_with("/lib-dynload") && OPTIONAL.contains(&module) && !is_wheel {
        return Some(
            "a terminal's, a window's or a dbm module of the standard library is imported only by programs that use it",
        );
    }
    if is_wheel
        && directory
            .split('/')
            .any(|part| matches!(part, "plugins" | "providers"))
    {
        return Some(
            "a plugin in a directory of plugins is loaded only by programs that ask for it",
        );
    }
    let is_transport = || TRANSPORTS.iter().any(|start| name.starts_with(start));
    if is_wheel && directory.contains("-packages/nvidia/") && is_transport() {
        return Some(
            "a transport of NVIDIA's is loaded only where the machine has its hardware or the program asks for it",
        );
    }
    if is_wheel && name.contains("_providers_") {
        return Some("a provider that is loaded only where the program asks for its device");
    }
    None
}

/// Why a library that is missing is no fault, for a file that nothing else in the image needs.
pub(crate) fn benign_unused(path: &str, is_wheel: bool) -> Option<&'static str> {
    let (_, name) = facts::path::split(path);
    let is_runtime = is_wheel && RUNTIMES.iter().any(|start| name.starts_with(start));
    is_runtime.then_some("a compiler's library in a wheel that nothing in the image needs")
}

/// The first release that has a symbol version, and which base that would be.
pub(crate) fn release_with(version: &str) -> Option<&'static str> {
    let (family, number) = version.split_once('_')?;
    let found = RELEASES.iter().find(|(_, glibc, cxx, abi)| {
        let has = match family {
            "GLIBC" => glibc,
            "GLIBCXX" => cxx,
            "CXXABI" => abi,
            _ => return false,
        };
        numbers(has) >= numbers(number)
    });
    if let Some((release, ..)) = found {
        return Some(release);
    }
    match family {
        "OPENSSL" if number.starts_with('3') => Some("Debian 12 (bookworm)"),
        _ => None,
    }
}

/// The newest of the versions with the prefix of `wanted`: what a library has of `GLIBC_`.
pub(crate) fn newest<'a>(versions: &'a [String], wanted: &str) -> Option<&'a str> {
    let (family, _) = wanted.split_once('_')?;
    let same = versions.iter().filter(|version| {
        let number = version
            .strip_prefix(family)
            .and_then(|rest| rest.strip_prefix('_'));
        number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
    });
    same.max_by_key(|version| numbers(version.split_once('_').map_or("", |(_, number)| number)))
        .map(String::as_str)
}

fn numbers(text: &str) -> Vec<u32> {
    text.split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(release_with("GLIBC_2.34"), Some("Ubuntu 22.04"));
        assert_eq!(release_with("GLIBC_2.4"), Some("Debian 10 (buster)"));
        assert_eq!(release_with("GLIBCXX_3.4.31"), Some("Ubuntu 24.04"));
        assert_eq!(release_with("GLIBC_9.9"), None);
        assert_eq!(release_with("OPENSSL_3.0.0"), Some("Debian 12 (bookworm)"));
        let has = ["GLIBC_2.9", "GLIBC_2.36", "GLIBC_PRIVATE"].map(str::to_owned);
        assert_eq!(newest(&has, "GLIBC_2.41"), Some("GLIBC_2.36"));
    }

    #[test]
    fn packages() {
        assert_eq!(package_of("libgomp.so.1"), Some("libgomp1"));
        assert_eq!(package_of("libunheard.so.1"), None);
        let mut sorted = PACKAGES.map(|(library, _)| library);
        sorted.sort_unstable();
        assert!(
            sorted.windows(2).all(|pair| pair[0] != pair[1]),
            "each once"
        );
    }
}
