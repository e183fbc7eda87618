"""Prints what this interpreter is, as one line of JSON."""
import json, os, platform, re, subprocess, sys, sysconfig


def libc():
    try:
        name, version = os.confstr("CS_GNU_LIBC_VERSION").split()
        major, minor = re.match(r"(\d+)\.(\d+)", version).groups()
        return {"name": name, "major": int(major), "minor": int(minor)}
    except (AttributeError, OSError, TypeError, ValueError):
        pass
    # musl's loader says its version when it is run by itself.
    for loader in ("/lib/ld-musl-%s.so.1" % platform.machine(), "/lib/ld-musl-armhf.so.1"):
        if os.path.exists(loader):
            told = subprocess.run([loader], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL).stderr
            found = re.search(rb"Version (\d+)\.(\d+)", told)
            if found:
                return {"name": "musl", "major": int(found[1]), "minor": int(found[2])}
    return None


print()
print(json.dumps({
    "executable": getattr(sys, "_base_executable", None) or sys.executable,
    "version": platform.python_version(),
    "implementation": sys.implementation.name,
    "system": sys.platform,
    "machine": platform.machine(),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "libc": libc(),
}))
