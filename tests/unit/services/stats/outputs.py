"""What the probe prints on several systems; the first was recorded and then edited, the others follow those systems' formats."""

from __future__ import annotations

DEBIAN = """
@clock0
1795375841.906105300

@cpu0
cpu  625903 0 110774 2175197 10480 0 11386 13514 0 0
cpu0 267885 0 44689 1147257 2322 0 3896 6721 0 0
cpu1 358018 0 66084 1027939 8158 0 7490 6793 0 0

@os
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
ID=debian

@uname
6.1.0-28-amd64
x86_64
web1

@cpuinfo
model name	: AMD EPYC 7763 64-Core Processor

@load
1.61 1.33 1.00 2/162 27513

@memory
MemTotal:       24684092 kB
MemFree:        23179408 kB
MemAvailable:   23555968 kB
Buffers:            5316 kB
Cached:           480548 kB
SwapCached:            0 kB
SwapTotal:       2097148 kB
SwapFree:        1048574 kB

@uptime
14793.16 21751.97

@net
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 2264609675 3779711    0    0    0     0          0         0 2264609675 3779711    0    0    0     0       0          0
  eth0: 759953517   29965    0    0    0     0          0         0  1808027   20152    0    0    0     0       0          0
docker0: 111 1 0 0 0 0 0 0 222 1 0 0 0 0 0 0

@disks
   7       0 loop0 9 0 9 0 9 0 9 0 0 0 0
   8       0 sda 446439 44508 20797754 468403 1829906 184532 27475360 287791 0 265564 839221 179036 137 19158264 26902
   8       1 sda1 446439 44508 20797754 468403 1829906 184532 27475360 287791 0 265564 839221 179036 137 19158264 26902

@bytes
Filesystem     1024-blocks     Used Available Capacity Mounted on
/dev/sda1        264212084 27604488  78786424      26% /
/dev/sda1        264212084 27604488  78786424      26% /
/dev/sdb1          1000000   900000    100000      90% /srv/with a space

@inodes
Filesystem       Inodes  IUsed    IFree IUse% Mounted on
/dev/sda1      16777216 471546 16305670    3% /
/dev/sdb1             0      0        0     - /srv/with a space

@types
/dev/sda1 ext4
/dev/sdb1 btrfs

@address
10.0.0.1

@pressure_cpu
some avg10=15.41 avg60=12.34 avg300=3.21 total=123456

@pressure_memory
some avg10=0.00 avg60=0.00 avg300=0.00 total=0
full avg10=0.00 avg60=0.00 avg300=0.00 total=0

@pressure_io
some avg10=0.00 avg60=0.47 avg300=0.10 total=9999
full avg10=0.00 avg60=0.40 avg300=0.10 total=9000

@temperature
45000
51500

@reboot
no

@units
nginx.service loaded failed failed A high performance web server
.

@cpu1
cpu  625953 0 110784 2175227 10490 0 11386 13514 0 0
cpu0 267905 0 44689 1147257 2322 0 3896 6721 0 0
cpu1 358048 0 66094 1027969 8168 0 7490 6793 0 0

@clock1
1795375842.406105300

@end
"""

ALPINE = """
@clock0
1795375841.%N

@cpu0
cpu  100 0 50 800 10 0 5 0
cpu0 100 0 50 800 10 0 5 0

@os
NAME="Alpine Linux"
ID=alpine
VERSION_ID=3.20.3

@uname
6.6.58-0-virt
aarch64
edge

@cpuinfo

@load
0.00 0.01 0.05 1/91 2211

@memory
MemTotal:         498712 kB
MemFree:          301264 kB
MemAvailable:     421176 kB
Buffers:            7700 kB
Cached:           118432 kB
SwapTotal:             0 kB
SwapFree:              0 kB

@uptime
59.5 58.1

@net
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth0:    1200      10    0    0    0     0          0         0     3400      12    0    0    0     0       0          0

@disks
 253       0 vda 10 0 800 0 20 0 1600 0 0 0 0

@bytes
Filesystem           1024-blocks    Used Available Capacity Mounted on
/dev/vda3               3825440    390392   3222092  11% /

@inodes
Filesystem              Inodes      Used Available Capacity Mounted on
/dev/vda3               247296     21240    226056   9% /

@types
/dev/vda3 ext4

@address

@pressure_cpu

@temperature

@reboot

@units

@cpu1
cpu  100 0 50 850 10 0 5 0
cpu0 100 0 50 850 10 0 5 0

@clock1
1795375842.%N

@end
"""

RHEL7 = """
@clock0
1795375841.5

@cpu0
cpu  10 0 10 100 0 0 0 0 0 0
cpu0 10 0 10 100 0 0 0 0 0 0

@os
NAME="CentOS Linux"
VERSION="7 (Core)"
ID="centos"
VERSION_ID="7"

@uname
2.6.32-754.el6.x86_64
x86_64
old.example.org

@cpuinfo
model name	: Intel(R) Xeon(R) CPU E5-2650 0 @ 2.00GHz

@load
12.00 8.00 4.00 3/200 100

@memory
MemTotal:        1000000 kB
MemFree:          100000 kB
Buffers:          100000 kB
Cached:           300000 kB
SwapTotal:             0 kB
SwapFree:              0 kB

@uptime
900000.00 1.00

@net
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
   em1:100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0
 em1.5:100 1 0 0 0 0 0 0 200 1 0 0 0 0 0 0

@disks

@bytes
Filesystem         1024-blocks      Used Available Capacity Mounted on
/dev/mapper/vg_a-lv_root  51475068  51475068         0     100% /

@inodes
Filesystem            Inodes   IUsed   IFree IUse% Mounted on
/dev/mapper/vg_a-lv_root 3276800 3276800       0  100% /

@types
/dev/mapper/vg_a-lv_root xfs

@address
fd00::7

@reboot
yes

@units
.

@cpu1
cpu  30 0 10 120 0 0 0 0 0 0
cpu0 30 0 10 120 0 0 0 0 0 0

@clock1
1795375842.5

@end
"""
