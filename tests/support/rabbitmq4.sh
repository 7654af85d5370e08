#!/bin/bash
# Makes a folder with RabbitMQ 4, from Debian trixie, beside the RabbitMQ of this system:
# rabbitmq4.sh FOLDER. Needs root. deploy/dev/rabbitmq.sh runs it when
# DEV_RABBITMQ_ROOT says where it is.
set -eu
folder=$1

[ -x "$folder/usr/sbin/rabbitmq-server" ] && exit
if [ "$(id -u)" -ne 0 ]; then
    echo "rabbitmq4.sh: needs root, to make a Debian of its own in $folder" >&2
    exit 1
fi
"$(dirname "$0")/../../deploy/dev/packages.sh" debootstrap
rm -rf "$folder"
mkdir -p "$(dirname "$folder")"
# The package's script would start a broker; what cannot be run is not.
debootstrap --variant=minbase trixie "$folder" >&2
printf '#!/bin/sh\nexit 101\n' >"$folder/usr/sbin/policy-rc.d"
chmod +x "$folder/usr/sbin/policy-rc.d"
chroot "$folder" apt-get install --yes -qq --no-install-recommends rabbitmq-server >&2
