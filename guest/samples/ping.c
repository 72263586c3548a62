/* SPDX-License-Identifier: MIT-0 */
/*
 * ping.c - ARP and ICMP by hand: asks who has 10.0.2.2, which the user-mode network
 * answers (--net user), and pings it.
 */
#include "sample.h"

enum { ARP = 0x0806, IP = 0x0800, ECHO_REPLY = 0, ECHO = 8 };

static const u8 my_ip[4] = {10, 0, 2, 15}, its_ip[4] = {10, 0, 2, 2};
static u8 my_mac[6], its_mac[6];
static volatile struct ring3_simple_frame *slot;
static u16 port;
static u32 next_receive;

/* Compilers call it for arrays that begin as zeros. */
void *memset(void *to, int byte, u64 n);
void *memset(void *to, int byte, u64 n)
{
    void *at = to;

    __asm__ volatile("rep stosb" : "+D"(at), "+c"(n) : "a"(byte) : "memory");
    return to;
}

static void copy(volatile u8 *to, const volatile u8 *from, u32 n)
{
    while (n--)
        *to++ = *from++;
}

static void send(const u8 *frame, u16 size)
{
    copy(slot[0].payload, frame, size);
    slot[0].size = size;
    slot[0].status = 1;
    outl(port, RING3_SIMPLE_NET_SEND);
    while (slot[0].status)
        pause();
}

/* The next frame of that type that comes. */
static u16 receive(u8 *frame, u16 type)
{
    for (;;) {
        volatile struct ring3_simple_frame *s = &slot[RING3_SIMPLE_NET_SLOTS + next_receive];
        u16 size;

        while (!s->status)
            pause();
        size = s->size;
        copy(frame, s->payload, size);
        s->status = 0;
        next_receive = (next_receive + 1) % RING3_SIMPLE_NET_SLOTS;
        if (frame[12] == type >> 8 && frame[13] == (type & 255))
            return size;
    }
}

static void header(u8 *frame, u16 type)
{
    copy(frame, its_mac, 6);
    copy(frame + 6, my_mac, 6);
    frame[12] = (u8)(type >> 8);
    frame[13] = (u8)type;
}

static void checksum(u8 *at, const u8 *from, u32 bytes)
{
    u32 sum = 0;

    for (u32 i = 0; i < bytes; i += 2)
        sum += (u32)(from[i] << 8 | from[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = ~(sum + (sum >> 16));
    at[0] = (u8)(sum >> 8);
    at[1] = (u8)sum;
}

static void arp(void)
{
    u8 f[1500] = {0};
    static const u8 request[] = {0, 1, 8, 0, 6, 4, 0, 1};

    for (u32 i = 0; i < 6; i++)
        its_mac[i] = 0xff;                       /* everybody */
    header(f, ARP);
    copy(f + 14, request, sizeof request);
    copy(f + 22, my_mac, 6);
    copy(f + 28, my_ip, 4);
    copy(f + 38, its_ip, 4);
    send(f, 60);
    receive(f, ARP);
    copy(its_mac, f + 22, 6);
}

static int ping(u8 sequence)
{
    u8 f[1500] = {0};

    header(f, IP);
    f[14] = 0x45;
    f[17] = 28;
    f[22] = 64;                                  /* hops */
    f[23] = 1;                                   /* ICMP */
    copy(f + 26, my_ip, 4);
    copy(f + 30, its_ip, 4);
    checksum(f + 24, f + 14, 20);
    f[34] = ECHO;
    f[41] = sequence;
    checksum(f + 36, f + 34, 8);
    send(f, 60);
    receive(f, IP);
    return f[23] == 1 && f[34] == ECHO_REPLY && f[41] == sequence;
}

int guest_main(const struct ring3_simple_device *table, const char *arguments, u64 ram_bytes)
{
    const struct ring3_simple_device *d = device(table, RING3_SIMPLE_NETWORK);
    u32 mac[2], answers = 0;

    if (!d)
        return 1;
    port = d->port;
    slot = AT(struct ring3_simple_frame, d->memory);
    outl(port, RING3_SIMPLE_NET_MAC_LOW);
    mac[0] = inl(port);
    outl(port, RING3_SIMPLE_NET_MAC_HIGH);
    mac[1] = inl(port);
    copy(my_mac, (u8 *)mac, 6);
    arp();
    print("arp\n");
    for (u8 i = 1; i <= 3; i++)
        answers += (u32)ping(i);
    print_number(answers);
    print(" answers\n");
    return answers == 3 ? 0 : 1;
}
