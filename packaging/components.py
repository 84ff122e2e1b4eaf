"""Lists the crates whose code is in the binary: their licences as a text, and their versions as a CycloneDX 1.6 document."""

import collections, json, pathlib, re, subprocess, time, tomllib

# The bundled plugins, which the binary contains.
GUESTS = ["chat-provider", "echo", "http-provider", "units"]
NOTICE = re.compile(r"(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)
RULE = "=" * 80


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def find(target):
    """Returns the packages of a binary for `target`, as `cargo metadata` prints them. The first one is `runner`."""
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1"))
    used = set()
    for part, target in [("runner", target), *((guest, "wasm32-wasip2") for guest in GUESTS)]:
        tree = cargo("tree", "--locked", "--package", part, "--target", target, "--edges", "normal", "--prefix", "none")
        used |= {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    packages = [package for package in metadata["packages"] if (package["name"], "v" + package["version"]) in used]
    nodes = {node["id"]: node["dependencies"] for node in metadata["resolve"]["nodes"]}
    for package in packages:
        # Older crates write `/` in place of the `OR` of SPDX.
        package["license"] = re.sub(r"\s*/\s*", " OR ", package["license"])
        package["needs"] = nodes[package["id"]]
        package["title"] = f"{package['name']} {package['version']}"
    return sorted(packages, key=lambda package: (package["name"] != "runner", package["name"], package["version"]))


def licences(packages):
    """Returns the licences of all packages, with each text once."""
    texts, users = {}, collections.defaultdict(list)
    for package in packages:
        # The licences of this workspace are at its top.
        folder = pathlib.Path(package["manifest_path"]).parent if package["source"] else pathlib.Path()
        for file in sorted(file for file in folder.iterdir() if file.is_file() and NOTICE.match(file.name)):
            text = file.read_text(errors="replace").strip()
            words = " ".join(text.split())
            texts[words] = text
            users[words].append(package["title"])
    table = "\n".join(f"{package['title']:40}{package['license']}" for package in packages)
    parts = [f"{RULE}\n{', '.join(dict.fromkeys(users[words]))}\n{RULE}\n\n{text}\n" for words, text in texts.items()]
    head = "runner contains these packages. The licences that they bring follow, each text once.\n"
    return "\n".join([head, table + "\n", *parts])


def cyclonedx(packages, date):
    """Returns the list of components as a JSON document."""
    lock = tomllib.loads(pathlib.Path("Cargo.lock").read_text())
    sums = {f"{package['name']} {package['version']}": package.get("checksum") for package in lock["package"]}
    urls = {package["id"]: f"pkg:cargo/{package['name']}@{package['version']}" for package in packages}

    def component(package):
        url, checksum = urls[package["id"]], sums[package["title"]]
        return {
            "type": "library" if package["name"] != "runner" else "application",
            "bom-ref": url,
            "name": package["name"],
            "version": package["version"],
            "purl": url,
            "licenses": [{"expression": package["license"]}],
            **({"hashes": [{"alg": "SHA-256", "content": checksum}]} if checksum else {}),
        }

    main, *others = [component(package) for package in packages]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"timestamp": time.strftime("%FT%TZ", time.gmtime(date)), "component": main},
        "components": others,
        "dependencies": [
            {"ref": url, "dependsOn": sorted(urls[need] for need in package["needs"] if need in urls)}
            for package, url in zip(packages, urls.values())
        ],
    }
    return json.dumps(document, indent=1)
