// SPDX-License-Identifier: Apache-2.0
/*
 * flood KIND DEVICE MAC FROM/BITS TO PORT COUNT RATE: sends COUNT frames from DEVICE to MAC, at
 * most RATE a second (0: as fast as it can), as raw packets: sources are random addresses of
 * FROM/BITS and random ports, whether this host has them or not. IPv4 and IPv6. Prints how
 * many were sent and the seconds it took.
 *
 *   syn       TCP SYNs to PORT
 *   ack       TCP data of connections that never began, to PORT
 *   udp       datagrams to PORT
 *   scan      SYNs to all ports, 1 to 65535 and on from 1
 *   fragment  in turn first fragments of datagrams to PORT that never get whole, and later ones
 *             without a first
 *   icmp      unreachable errors of every code that quote answers of TO:PORT to the sources
 *   ping      echo requests
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH	  32
#define FRAME_MAX 128

enum kind { SYN, ACK, UDP, SCAN, FRAGMENT, ICMP, PING, N_KINDS };

static const char *const kinds[N_KINDS] = {
	"syn", "ack", "udp", "scan", "fragment", "icmp", "ping"
};

struct flood {
	enum kind kind;
	bool v6;
	uint8_t mac[ETH_ALEN], own_mac[ETH_ALEN];
	uint8_t from[16], to[16]; /* IPv4: the first 4 bytes */
	unsigned bits;		  /* of from */
	uint16_t port;
	uint64_t seed;
};

struct frame {
	size_t len;
	uint8_t data[FRAME_MAX];
};

static void die(const char *what)
{
	fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* xorshift64*: the same packets in every run. */
static uint32_t dice(struct flood *f)
{
	f->seed ^= f->seed >> 12;
	f->seed ^= f->seed << 25;
	f->seed ^= f->seed >> 27;
	return (f->seed * 0x2545f4914f6cdd1dull) >> 32;
}

static uint32_t sum(const uint8_t *data, size_t len, uint32_t to)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		to += data[i] << 8 | data[i + 1];
	return len & 1 ? to + (data[len - 1] << 8) : to;
}

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = value >> 8;
	at[1] = value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

static void put_sum(uint8_t *at, uint32_t value)
{
	value = (value & 0xffff) + (value >> 16);
	value = (value & 0xffff) + (value >> 16);
	put16(at, ~value);
}

/* A random address of the prefix. */
static void source(struct flood *f, uint8_t *addr)
{
	size_t len = f->v6 ? 16 : 4;

	for (size_t i = 0; i < len; i++) {
		unsigned host = f->bits <= 8 * i       ? 0xff
				: f->bits >= 8 * i + 8 ? 0
						       : 0xff >> (f->bits - 8 * i);

		addr[i] = (f->from[i] & ~host) | (dice(f) & host);
	}
}

/*
 * IP header at @at for @len bytes of @proto behind it. @part: offset field of an IPv4 fragment.
 * Return: its length.
 */
static size_t put_ip(const struct flood *f, uint8_t *at, const uint8_t *src, const uint8_t *dst,
		     uint8_t proto, size_t len, uint32_t part, uint32_t id)
{
	if (f->v6) {
		memset(at, 0, 40);
		at[0] = 0x60;
		put16(at + 4, len);
		at[6] = proto;
		at[7] = 64;
		memcpy(at + 8, src, 16);
		memcpy(at + 24, dst, 16);
		return 40;
	}
	memset(at, 0, 20);
	at[0] = 0x45;
	put16(at + 2, 20 + len);
	put16(at + 4, id);
	put16(at + 6, part);
	at[8] = 64;
	at[9] = proto;
	memcpy(at + 12, src, 4);
	memcpy(at + 16, dst, 4);
	put_sum(at + 10, sum(at, 20, 0));
	return 20;
}

/* The checksum at @check of @len bytes of @proto behind the IP header @ip of @ip_len bytes. */
static void put_l4_sum(uint8_t *ip, size_t ip_len, uint8_t proto, size_t len, size_t check)
{
	size_t addrs = ip_len == 40 ? 8 : 12;

	put16(ip + ip_len + check, 0);
	put_sum(ip + ip_len + check,
		sum(ip + ip_len, len, sum(ip + addrs, ip_len - addrs, proto + len)));
}

static size_t put_tcp(struct flood *f, uint8_t *at, uint16_t sport, uint16_t dport, uint8_t flags)
{
	memset(at, 0, 20);
	put16(at, sport);
	put16(at + 2, dport);
	put32(at + 4, dice(f));
	put32(at + 8, flags & 0x10 ? dice(f) : 0);
	at[12] = 5 << 4;
	at[13] = flags;
	put16(at + 14, 65535);
	return 20;
}

static size_t put_udp(uint8_t *at, uint16_t sport, uint16_t dport, size_t payload)
{
	memset(at, 0, 8 + payload);
	put16(at, sport);
	put16(at + 2, dport);
	put16(at + 4, 8 + payload);
	return 8 + payload;
}

static size_t make_l4(struct flood *f, uint8_t *ip, const uint8_t *src, uint32_t n)
{
	size_t ip_len = f->v6 ? 40 : 20, len;
	uint8_t *l4 = ip + ip_len, proto = f->kind == UDP ? IPPROTO_UDP : IPPROTO_TCP;
	uint16_t sport = 1024 + dice(f) % 60000;

	switch (f->kind) {
	case UDP:
		len = put_udp(l4, sport, f->port, 10);
		break;
	case ACK:
		len = put_tcp(f, l4, sport, f->port, 0x18) + 8;
		memset(l4 + 20, 'x', 8);
		break;
	default:
		len = put_tcp(f, l4, sport, f->kind == SCAN ? 1 + n % 65535 : f->port, 0x02);
	}
	put_ip(f, ip, src, f->to, proto, len, 0, n);
	put_l4_sum(ip, ip_len, proto, len, proto == IPPROTO_UDP ? 6 : 16);
	return ip_len + len;
}

/* An error about an answer of TO:PORT to the source: if it has such a flow, it is translated. */
static size_t make_icmp(struct flood *f, uint8_t *ip, const uint8_t *src, uint32_t n)
{
	size_t ip_len = f->v6 ? 40 : 20, len = 8;
	uint8_t *icmp = ip + ip_len, proto = f->v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;

	memset(icmp, 0, 8);
	if (f->kind == PING) {
		icmp[0] = f->v6 ? 128 : 8;
		put32(icmp + 4, n);
	} else {
		/* Of IPv6, every other one is "too big". */
		icmp[0] = f->v6 ? 1 + (n & 1) : 3;
		icmp[1] = f->v6 ? (n & 1 ? 0 : (n >> 1) % 7) : n % 16;
		put32(icmp + 4, f->v6 && n & 1 ? 1280 : 68);
		len += put_ip(f, icmp + 8, f->to, src, IPPROTO_TCP, 20, 0, n);
		len += put_tcp(f, icmp + len, f->port, 1024 + dice(f) % 60000, 0x18);
	}
	put_ip(f, ip, src, f->to, proto, len, 0, n);
	if (f->v6)
		put_l4_sum(ip, ip_len, proto, len, 2);
	else
		put_sum(icmp + 2, sum(icmp, len, 0));
	return ip_len + len;
}

static size_t make_fragment(struct flood *f, uint8_t *ip, const uint8_t *src, uint32_t n)
{
	bool later = n & 1;
	size_t ip_len = f->v6 ? 40 : 20, head = f->v6 ? 8 : 0, len;
	uint8_t *l4 = ip + ip_len + head;
	uint32_t id = dice(f);

	len = put_udp(l4, 1024 + dice(f) % 60000, f->port, 32);
	put16(l4 + 4, 1480);
	if (f->v6) {
		memset(ip + 40, 0, 8);
		ip[40] = IPPROTO_UDP;
		put16(ip + 42, later ? 1440 | 1 : 1);
		put32(ip + 44, id);
	}
	put_ip(f, ip, src, f->to, f->v6 ? IPPROTO_FRAGMENT : IPPROTO_UDP, head + len,
	       IP_MF | (later ? 180 : 0), id);
	return ip_len + head + len;
}

static void make(struct flood *f, struct frame *frame, uint32_t n)
{
	uint8_t src[16], *ip = frame->data + ETH_HLEN;

	source(f, src);
	memcpy(frame->data, f->mac, ETH_ALEN);
	memcpy(frame->data + ETH_ALEN, f->own_mac, ETH_ALEN);
	put16(frame->data + 12, f->v6 ? ETH_P_IPV6 : ETH_P_IP);
	if (f->kind == FRAGMENT)
		frame->len = make_fragment(f, ip, src, n);
	else if (f->kind == ICMP || f->kind == PING)
		frame->len = make_icmp(f, ip, src, n);
	else
		frame->len = make_l4(f, ip, src, n);
	frame->len += ETH_HLEN;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

static void send_all(int sock, struct flood *f, uint32_t count, double rate)
{
	static struct frame frames[BATCH];
	struct mmsghdr messages[BATCH];
	struct iovec io[BATCH];
	double begun = now();

	memset(messages, 0, sizeof(messages));
	for (uint32_t sent = 0; sent < count;) {
		uint32_t n = count - sent < BATCH ? count - sent : BATCH;

		for (uint32_t i = 0; i < n; i++) {
			make(f, &frames[i], sent + i);
			io[i] = (struct iovec){ frames[i].data, frames[i].len };
			messages[i].msg_hdr.msg_iov = &io[i];
			messages[i].msg_hdr.msg_iovlen = 1;
		}
		for (uint32_t done = 0; done < n;) {
			int r = sendmmsg(sock, messages + done, n - done, 0);

			if (r < 0 && errno != ENOBUFS && errno != EINTR)
				die("send");
			done += r < 0 ? 0 : r;
		}
		sent += n;
		while (rate && sent > (now() - begun) * rate)
			usleep(200);
	}
	printf("%u %.2f\n", count, now() - begun);
}

static int open_device(struct flood *f, const char *name)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_ifindex = if_nametoindex(name) };
	int sock = socket(AF_PACKET, SOCK_RAW, 0), one = 1;
	socklen_t len = sizeof(at);

	if (sock < 0 || !at.sll_ifindex || bind(sock, (struct sockaddr *)&at, sizeof(at)) < 0 ||
	    getsockname(sock, (struct sockaddr *)&at, &len) < 0)
		die(name);
	setsockopt(sock, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one));
	memcpy(f->own_mac, at.sll_addr, ETH_ALEN);
	return sock;
}

int main(int argc, char **argv)
{
	struct flood f = { .kind = N_KINDS, .seed = 88172645463325252ull };
	unsigned m[ETH_ALEN];
	char *slash;

	errno = EINVAL;
	if (argc != 9 || !(slash = strchr(argv[4], '/')) ||
	    sscanf(argv[3], "%x:%x:%x:%x:%x:%x", m, m + 1, m + 2, m + 3, m + 4, m + 5) != 6)
		die("usage: KIND DEVICE MAC FROM/BITS TO PORT COUNT RATE");
	for (int i = 0; i < N_KINDS; i++)
		if (!strcmp(argv[1], kinds[i]))
			f.kind = i;
	for (int i = 0; i < ETH_ALEN; i++)
		f.mac[i] = m[i];
	*slash = '\0';
	f.v6 = strchr(argv[4], ':');
	f.bits = atoi(slash + 1);
	f.port = atoi(argv[6]);
	if (f.kind == N_KINDS || inet_pton(f.v6 ? AF_INET6 : AF_INET, argv[4], f.from) != 1 ||
	    inet_pton(f.v6 ? AF_INET6 : AF_INET, argv[5], f.to) != 1)
		die("the kind or an address is none");
	send_all(open_device(&f, argv[2]), &f, strtoul(argv[7], NULL, 10), atof(argv[8]));
	return 0;
}
