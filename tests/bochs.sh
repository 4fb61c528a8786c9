#!/usr/bin/env bash
# Runs the CPU kernel tests in the emulator Bochs, for instruction sets that this machine does not
# have. The emulated Sapphire Rapids has AVX-512 with VNNI and BF16, and AVX-VNNI. Installs nothing,
# so it needs no network.
set -euo pipefail

usage() {
  cat <<'HELP'
Usage: tests/bochs.sh BOCHS KERNEL [TAGS...]
  BOCHS   a build directory of Bochs 3.0, configured with
            ./configure --enable-x86-64 --enable-avx --enable-evex --enable-all-optimizations \
              --with-nogui --disable-plugins && make
  KERNEL  a Linux kernel, for example /boot/vmlinuz of Debian's linux-image-cloud-amd64
  TAGS    Catch2 tags of the tests (default: [quantized_linear] [ops] [cpu_backend]
          [vision_encoder] [language_model])
Environment:
  JOBS       parallel build jobs (default: number of processors)
  BUILD_DIR  build directory (default: build/bochs in the source directory)

Needs the build dependencies of pllava, static libraries of libc and Catch2, and the Debian packages
isolinux, syslinux-common, xorriso, cpio and busybox-static.
HELP
}

case "${1:-}" in
  --help | -h) usage; exit 0 ;;
esac
if (($# < 2)); then
  usage >&2
  exit 2
fi
bochs=$(realpath -- "$1")
kernel=$(realpath -- "$2")
shift 2
tags=("$@")
if ((${#tags[@]} == 0)); then
  tags=('[quantized_linear]' '[ops]' '[cpu_backend]' '[vision_encoder]' '[language_model]')
fi

source_dir=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
build_dir=${BUILD_DIR:-$source_dir/build/bochs}
cmake -S "$source_dir" -B "$build_dir" -G Ninja -DCMAKE_BUILD_TYPE=Release -DPLLAVA_VIDEO=OFF \
  -DPLLAVA_SENTENCEPIECE=OFF -DPLLAVA_CUDA=OFF -DCMAKE_EXE_LINKER_FLAGS=-static
cmake --build "$build_dir" --target pllava_tests --parallel "${JOBS:-$(nproc)}"

work=$(mktemp -d)
machine=
trap '[[ -z $machine ]] || kill "$machine" 2>/dev/null; rm -rf -- "$work"' EXIT

# The initial RAM disk: busybox, the test program, and its data at the paths that it reads.
disk=$work/disk
mkdir -p "$disk"/{bin,proc,tmp,dev} "$disk$source_dir"/{tests,examples/demo_model}
cp /bin/busybox "$disk/bin/"
strip -o "$disk/bin/pllava_tests" "$build_dir/tests/pllava_tests"
cp -r "$source_dir/tests/data" "$disk$source_dir/tests/"
cp -r "$source_dir/examples/demo_model/weights" "$disk$source_dir/examples/demo_model/"
printf '%s\n' "${tags[@]}" >"$disk/tags"
cat >"$disk/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs tmp /tmp
exec >/dev/ttyS0 2>&1
passed=yes
while read -r tag; do
  echo "== $tag"
  /bin/pllava_tests "$tag" --durations yes --use-colour no || passed=no
done </tags
echo "== passed: $passed"
/bin/busybox sleep 1 # wait for the serial line
/bin/busybox reboot -f # a triple fault, which ends Bochs
INIT
chmod +x "$disk/init"

# A CD that boots it. Linux does not boot in Bochs with ACPI, the APIC or fast string moves.
boot=$work/cd/isolinux
mkdir -p "$boot"
(cd "$disk" && find . | cpio -o -H newc --quiet | gzip -1) >"$boot/disk.gz"
cp "$kernel" "$boot/linux"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$boot/"
cat >"$boot/isolinux.cfg" <<'CONFIG'
default tests
label tests
 kernel linux
 append initrd=disk.gz console=ttyS0 rdinit=/init acpi=off nolapic noapic nosmp mitigations=off nokaslr tsc=reliable lpj=4000000 no_timer_check clearcpuid=fsrm,erms lsm=capability reboot=t
CONFIG
xorriso -as mkisofs -quiet -o "$work/cd.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat \
  -no-emul-boot -boot-load-size 4 -boot-info-table "$work/cd"
cat >"$work/bochsrc" <<CONFIG
cpu: model=sapphire_rapids, count=1, ips=100000000, reset_on_triple_fault=0, exclude_features="la57"
memory: guest=1024, host=1024
romimage: file=$bochs/bios/BIOS-bochs-latest
vgaromimage: file=$bochs/bios/VGABIOS-lgpl-latest.bin
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/cd.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial
display_library: nogui
log: $work/log
panic: action=fatal
clock: sync=none
CONFIG
: >"$work/serial"
"$bochs/bochs" -q -f "$work/bochsrc" >"$work/out" 2>&1 </dev/null &
machine=$!
tail --pid="$machine" -n +1 -f "$work/serial" | sed -un '/^== /,$p'
wait "$machine" || true
machine=
grep -q '^== passed: yes' "$work/serial"
