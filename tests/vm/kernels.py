# SPDX-License-Identifier: Apache-2.0
"""Gets distribution kernels with apt and keeps them unpacked in a cache.

Nothing is installed, and the system's own apt lists are only read. A kernel stands at
CACHE/PACKAGE_VERSION/; CACHE/NAME.current says which one a name like "6.1" means and, by its
date, when apt was asked last.
"""

import os
import re
import shutil
import subprocess
import tempfile
import time

ASK_AGAIN = 24 * 3600  # seconds until apt is asked for a newer one

# name: (meta package, suite if it is not one of the system's own)
WANTED = {
    "6.1": ("linux-image-cloud-amd64", None),
    "6.12": ("linux-image-6.12-cloud-amd64", None),
    "newest": ("linux-image-cloud-amd64", "trixie-backports"),
}
# What a kernel is split into: newer ones have their modules and vmlinuz apart.
PART = re.compile(r"Depends: (linux-(?:image|modules|binary)-\d\S*)")


class Missing(Exception):
    """A kernel is neither in the cache nor to be had; says why."""


def cache_dir():
    return os.environ.get("SHUNT_VM_CACHE") or os.path.expanduser("~/.cache/shunt-vm")


class Apt:
    """apt, or apt with a sources file of our own for a suite that the system does not have."""

    def __init__(self, cache, suite):
        self.options = ["-o", "APT::Sandbox::User=root"]
        if not suite:
            return
        home = os.path.join(cache, "apt", suite)
        os.makedirs(os.path.join(home, "lists", "partial"), exist_ok=True)
        sources = os.path.join(home, "sources.list")
        with open(sources, "w") as f:
            f.write(f"deb {mirror()} {suite} main\n")
        self.options += ["-o", f"Dir::Etc::sourcelist={sources}", "-o",
                         "Dir::Etc::sourceparts=/dev/null", "-o",
                         f"Dir::State::lists={home}/lists", "-o", "Dir::Cache::pkgcache=",
                         "-o", "Dir::Cache::srcpkgcache=", "-o", "Acquire::Languages=none",
                         "-o", "Acquire::Retries=1"]
        self.run("apt-get", "-q", "update")

    def run(self, program, *args, cwd=None):
        done = subprocess.run([program, *self.options, *args], cwd=cwd, capture_output=True,
                              text=True, timeout=300)
        if done.returncode:
            lines = [line for line in done.stderr.split("\n") if line.startswith("E:")]
            raise Missing(lines[0] if lines else f"{program}: exit status {done.returncode}")
        return done.stdout

    def parts(self, meta):
        """The packages of the kernel that a meta package means."""
        parts, todo = [], [meta]
        while todo:
            for part in PART.findall(self.run("apt-cache", "depends", todo.pop())):
                if part not in parts:
                    parts.append(part)
                    todo.append(part)
        if not parts:
            raise Missing(f"apt knows no {meta}")
        return parts

    def version(self, package):
        found = re.search(r"Candidate: (\S+)", self.run("apt-cache", "policy", package))
        if not found or found.group(1) == "(none)":
            raise Missing(f"apt has no {package}")
        return found.group(1)


def mirror():
    """Where the system has its distribution from."""
    listing = subprocess.run(["apt-get", "indextargets", "--format",
                              "$(REPO_URI) $(ORIGIN) $(LABEL) $(COMPONENT)", "Created-By: Packages"],
                             capture_output=True, text=True).stdout
    for line in listing.split("\n"):
        if line.endswith(" Debian Debian main"):
            return line.split(" ")[0]
    raise Missing("apt has no list of the distribution (apt-get update makes it)")


def fetch(apt, parts, target):
    """Downloads and unpacks packages to target, whole or not at all."""
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(target)) as work:
        apt.run("apt-get", "-q", "download", *parts, cwd=work)
        root = os.path.join(work, "root")
        for name in sorted(os.listdir(work)):
            if name.endswith(".deb"):
                subprocess.run(["dpkg-deb", "-x", os.path.join(work, name), root], check=True)
        os.chmod(root, 0o755)
        shutil.rmtree(target, ignore_errors=True)
        os.rename(root, target)


def newest(name):
    """Asks apt. Returns the folder of the kernel, got if it was not there."""
    meta, suite = WANTED[name]
    cache = cache_dir()
    apt = Apt(cache, suite)
    parts = apt.parts(meta)
    key = f"{parts[0]}_{apt.version(parts[0])}"
    if not os.path.isdir(os.path.join(cache, key)):
        fetch(apt, parts, os.path.join(cache, key))
    with open(os.path.join(cache, f"{name}.current"), "w") as f:
        f.write(key)
    return os.path.join(cache, key)


def cached(name):
    """Returns (folder, age of the answer in seconds) of the kernel in the cache, or (None, 0)."""
    current = os.path.join(cache_dir(), f"{name}.current")
    if not os.path.exists(current):
        return None, 0
    with open(current) as f:
        folder = os.path.join(cache_dir(), f.read())
    return (folder, time.time() - os.path.getmtime(current)) if os.path.isdir(folder) else (None, 0)


def get(name):
    """Returns the folder of an unpacked kernel; Missing if there is none."""
    folder, age = cached(name)
    if folder and age < ASK_AGAIN:
        return folder
    try:
        return newest(name)
    except (Missing, OSError, subprocess.SubprocessError) as e:
        if folder:
            return folder
        raise Missing(str(e)) from e


def vmlinuz(folder):
    for where, _, names in os.walk(folder):
        for name in names:
            if name.startswith("vmlinuz"):
                return os.path.join(where, name)
    raise Missing(f"no vmlinuz in {folder}")
