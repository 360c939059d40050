#!/bin/sh
# root.sh FOLDER PROGRAM...: makes FOLDER an image's root with these programs, the libraries that they load and what
# these need: certificates, names of users. Scanners find the Debian packages of it all in var/lib/dpkg/status.d.
set -eu
root=$1
shift

mkdir -p "$root/usr/local/bin" "$root/usr/lib" "$root/usr/lib64" "$root/etc" "$root/tmp" "$root/var/lib/dpkg/status.d"
chmod 1777 "$root/tmp"
ln -sf usr/lib "$root/lib"
ln -sf usr/lib64 "$root/lib64"

files=$root/files
: >"$files"
for program in "$@"; do
    cp "$program" "$root/usr/local/bin/"
    # A static program has none. "lib.so => /path (0x…)", the loader without an arrow, vdso without a path.
    libraries=$(ldd "$program" 2>/dev/null || true)
    case $libraries in *"not found"*)
        echo "root.sh: $program lacks a library:" >&2
        echo "$libraries" >&2
        exit 1
        ;;
    esac
    echo "$libraries" | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' >>"$files"
done
sort -u -o "$files" "$files"

while read -r path; do
    mkdir -p "$root${path%/*}"
    cp -L "$path" "$root$path"
    real=$(realpath "$path")
    # dpkg knows files by the path that their package gave them, before /lib became a link to /usr/lib
    dpkg-query -S "$path" 2>/dev/null || dpkg-query -S "$real" 2>/dev/null || dpkg-query -S "${real#/usr}"
done <"$files" | sed 's/:.*//' >"$root/packages"
echo ca-certificates >>"$root/packages"
sort -u "$root/packages" | while read -r package; do
    dpkg-query -s "$package" >"$root/var/lib/dpkg/status.d/$package"
    mkdir -p "$root/usr/share/doc/$package"
    cp -L "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/"
done
rm "$files" "$root/packages"
mkdir -p "$root/usr/share/doc/guildbus"
cp LICENSE "$root/usr/share/doc/guildbus/"

# OpenSSL looks into its own folder, libcurl into Debian's bundle.
mkdir -p "$root/etc/ssl" "$root/usr/lib/ssl"
cp -rL /etc/ssl/certs "$root/etc/ssl/"
cp /etc/ssl/openssl.cnf "$root/etc/ssl/"
ln -sf /etc/ssl/certs "$root/usr/lib/ssl/certs"
ln -sf /etc/ssl/openssl.cnf "$root/usr/lib/ssl/openssl.cnf"

echo 'root:x:0:0:root:/:/sbin/nologin
guildbus:x:65532:65532:Guildbus:/:/sbin/nologin' >"$root/etc/passwd"
echo 'root:x:0:
guildbus:x:65532:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
