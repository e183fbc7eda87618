"""A build backend in the sources that it builds: writes what wheel.json says. As careless as backends
are: files in any order, with the time and the mode of the moment."""
import base64
import hashlib
import json
import os
import random
import sys
import time
import zipfile

with open("wheel.json", encoding="utf-8") as file:
    SAYS = json.load(file)


def note(hook):
    print("running", hook)
    if SAYS["log"]:
        with open(SAYS["log"], "a", encoding="utf-8") as log:
            log.write("%s %s %s\n" % (SAYS["name"], SAYS["version"], hook))
    if SAYS["fails"] == hook:
        sys.exit("error: the backend has had enough")
    if SAYS["hangs"] == hook:
        print("waiting for what does not come", flush=True)
        time.sleep(600)


def metadata():
    lines = ["Metadata-Version: 2.1", "Name: " + SAYS["name"], "Version: " + SAYS["version"]]
    return "".join(line + "\n" for line in lines + ["Requires-Dist: " + it for it in SAYS["requires"]])


def get_requires_for_build_wheel(config_settings=None):
    note("get_requires_for_build_wheel")
    return SAYS["further"]


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    note("build_wheel")
    for name in SAYS["imports"]:
        __import__(name)
    stem = "%s-%s" % (SAYS["name"], SAYS["version"])
    info = stem + ".dist-info/"
    pure = "true" if SAYS["tag"].endswith("-any") else "false"
    files = {
        info + "METADATA": metadata().encode(),
        info + "WHEEL": ("Wheel-Version: 1.0\nGenerator: testkit\nRoot-Is-Purelib: %s\nTag: %s\n" % (pure, SAYS["tag"])).encode(),
    }
    for path, _, names in os.walk("src"):
        for name in names:
            with open(os.path.join(path, name), "rb") as file:
                files[os.path.relpath(os.path.join(path, name), "src")] = file.read()
    rows = []
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.append("%s,sha256=%s,%d\n" % (name, digest, len(data)))
    files[info + "RECORD"] = ("".join(rows) + info + "RECORD,,\n").encode()
    filename = "%s-%s.whl" % (stem, SAYS["tag"])
    names = list(files)
    random.Random(os.urandom(8)).shuffle(names)
    with zipfile.ZipFile(os.path.join(wheel_directory, filename), "w") as wheel:
        for name in names:
            wheel.writestr(name, files[name])
    return filename


if SAYS["prepares"]:
    def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
        note("prepare_metadata_for_build_wheel")
        info = "%s-%s.dist-info" % (SAYS["name"], SAYS["version"])
        os.mkdir(os.path.join(metadata_directory, info))
        with open(os.path.join(metadata_directory, info, "METADATA"), "w", encoding="utf-8") as file:
            file.write(metadata())
        return info
