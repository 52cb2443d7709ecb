#!/bin/bash
# scripts/with-driver.sh DRIVER COMMAND...: runs a program on one chosen Vulkan driver.
#   lavapipe       the system's Mesa, on the CPU
#   lavapipe-new   the newer Mesa of .deps/lavapipe-new, through that prefix's own dynamic linker
#   swiftshader    SwiftShader, on the CPU: no fp16, subgroups of 4
#   radv-CHIP      Mesa's RADV without hardware (vega10, navi21, ...): pipelines compile, nothing executes; navi31 and
#                  later need the Mesa of .deps/radv, or the system's if that has it
#   default        whatever the Vulkan loader finds
# With RF_VALIDATION_LOG=FILE the validation layer is loaded, with synchronization validation, and writes to FILE; if
# it wrote anything, the exit status is 1. RF_LAYERS=FOLDER: VK_INSTANCE_LAYERS may name layers that lie there too.
# A driver that is not there is exit status 77: a skipped test for CTest.
set -euo pipefail
root=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/..")
new=$root/.deps/lavapipe-new

[ $# -ge 2 ] || { sed -n '2,12s/^# //p' "$0" >&2; exit 2; }
driver=$1
shift

skip() { echo "with-driver: $driver: $1: scripts/setup.sh --tests brings it" >&2; exit 77; }

# system_icd NAME: the system's driver file, whose name carries the architecture on some distributions.
system_icd() {
    local file
    for file in /usr/share/vulkan/icd.d/"$1"_icd*.json; do
        [ ! -e "$file" ] || { echo "$file"; return; }
    done
}

case $driver in
lavapipe) icd=$(system_icd lvp) ;;
lavapipe-new) icd=$new/usr/share/vulkan/icd.d/lvp_icd.json ;;
swiftshader) icd=$root/.deps/swiftshader/icd.json ;;
radv-navi3*)
    icd=$(system_icd radeon)
    if [ -e "$root/.deps/radv/icd.json" ]; then
        icd=$root/.deps/radv/icd.json
        LD_LIBRARY_PATH=$(echo "$root"/.deps/radv/usr/lib/*-linux-gnu*)
        export LD_LIBRARY_PATH
    fi
    ;;
radv-*) icd=$(system_icd radeon) ;;
default) icd= ;;
*) echo "with-driver: unknown driver $driver" >&2; exit 2 ;;
esac

# Through the prefix's dynamic linker the program sees the newer libc, loader and layers; the program's other libraries
# come from the system.
launch=()
if [ "$driver" = lavapipe-new ] || { [ "$driver" = swiftshader ] && [ -n "${RF_VALIDATION_LOG-}" ]; }; then
    libraries=$(echo "$new"/usr/lib/*-linux-gnu*)
    [ -e "$libraries" ] || skip "no $new"
    launch=("$libraries"/ld-linux*.so.* --library-path "$libraries")
    layers=$new/usr/share/vulkan/explicit_layer.d
    program=$(command -v "$1") || { echo "with-driver: $1: no such program" >&2; exit 127; }
    set -- "$program" "${@:2}"
else
    layers=/usr/share/vulkan/explicit_layer.d
fi

if [ "$driver" != default ]; then
    [ -e "$icd" ] || skip "no driver file"
    export VK_DRIVER_FILES=$icd VK_ICD_FILENAMES=$icd
    # Layers that desktops switch on by themselves have no place in a test.
    export VK_LOADER_LAYERS_DISABLE='~implicit~' NODEVICE_SELECT=1
fi
[ "${driver#radv-}" = "$driver" ] || export RADV_FORCE_FAMILY=${driver#radv-}

export VK_LAYER_PATH=$layers${RF_LAYERS:+:$RF_LAYERS}

[ -n "${RF_VALIDATION_LOG-}" ] || exec "${launch[@]}" "$@"

manifest=$layers/VkLayer_khronos_validation.json
[ -e "$manifest" ] || skip "no validation layer in $layers"
version=$(sed -n 's/.*"api_version": *"1\.\([0-9]*\)\.\([0-9]*\)".*/\1\2/p' "$manifest")
: >"$RF_VALIDATION_LOG"
settings=$RF_VALIDATION_LOG.settings
cat >"$settings" <<END
khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG
khronos_validation.report_flags = error,warn
khronos_validation.log_filename = $RF_VALIDATION_LOG
END
if [ "$version" -ge 3280 ]; then # the layer renamed its settings in 1.3.280
    echo "khronos_validation.validate_sync = true" >>"$settings"
else
    echo "khronos_validation.enables = VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT" >>"$settings"
fi
export VK_LAYER_SETTINGS_PATH=$settings VK_INSTANCE_LAYERS=VK_LAYER_KHRONOS_validation
status=0
"${launch[@]}" "$@" || status=$?
if [ -s "$RF_VALIDATION_LOG" ]; then
    echo "with-driver: $driver: the validation layer complained:" >&2
    head -c 20000 "$RF_VALIDATION_LOG" >&2
    [ $status != 0 ] || status=1
fi
exit $status
