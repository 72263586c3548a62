/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pcap.h - what passes a network card, in a file that tcpdump and Wireshark read.
 *
 * The classic format (libpcap's savefile(5)), nanoseconds, Ethernet, as the host
 * saw the frames: large segments whole, checksums perhaps not filled in. A file
 * that cannot be written to any more (full disk) ends the capture with one
 * warning, holds whole records only, and never hurts the guest.
 */
#ifndef RING3_NET_PCAP_H
#define RING3_NET_PCAP_H

#include <sys/uio.h>
#include "base/types.h"

struct error;
struct log;
struct pcap;

struct pcap *pcap_open(const char *file, struct log *log, struct error **err);   /* truncates */
void pcap_close(struct pcap *p);                           /* NULL ok */
void pcap_frame(struct pcap *p, const struct iovec *iov, unsigned iovs);    /* NULL p ok */

#endif
