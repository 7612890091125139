// BPF programs of the wire benchmark: the generator of live frames, both far ends, and two contenders.
//
//   generate -> out ~ client [the unit] server ~ in -> sink          data, SYN, probe
//   back     <- out ~ client [the unit] server ~ in <- sink          SYN-ACK, the probe's echo
//
// Handshakes need no socket: `sink` turns a SYN round into the member's SYN-ACK, `back` that into the client's ACK.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <stddef.h>
// In this order: the helpers need the types.
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "shared.h"

struct wire_shared shared;

struct headers {
  struct ethhdr ethernet;
  struct iphdr ip;
  union {
    struct udphdr udp;
    struct tcphdr tcp;
  };
} __attribute__((packed));

enum { kFin = 1, kSyn = 2, kPush = 8, kAck = 16 };

static __always_inline __u16 fold(__u32 sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

static __always_inline __u32 halves(__u32 value) { return (value & 0xffff) + (value >> 16); }

static __always_inline struct wire_cpu* own(void) { return &shared.cpus[bpf_get_smp_processor_id() & (WIRE_CPUS - 1)]; }

// ---------------------------------------------------------------------------------------- generator

struct source {
  __be32 address;
  __be16 port;
};

static __always_inline struct source of_set(__u32 connection) {
  struct source source = {bpf_htonl(0x10000000 + (connection >> 10)), bpf_htons(1024 + (connection & 0x3ff))};
  return source;
}

static __always_inline struct source of_opened(__u64 number) {
  struct source source = {bpf_htonl(0x20000000 + ((number >> 15) & 0xffffff)), bpf_htons(1024 + (number & 0x7fff))};
  return source;
}

static __always_inline struct source of_probe(__u32 probe) {
  struct source source = {bpf_htonl(0x30000000), bpf_htons(1024 + probe)};
  return source;
}

// BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES: pages are used again, so every header byte is written.
SEC("xdp")
int generate(struct xdp_md* frame) {
  void* data = (void*)(long)frame->data;
  struct headers* at = data;
  if (data + sizeof *at > (void*)(long)frame->data_end || shared.stopping) return XDP_DROP;
  __u64 number = shared.generated++;
  __u32 opens = shared.open_set != 0, probes = 0;
  struct source source;
  if (shared.open_every != 0 && number % shared.open_every == 0) {
    opens = 1;
    source = of_opened(shared.opened++);
  } else if (shared.probe_every != 0 && (number & (shared.probe_every - 1)) == 0) {
    probes = 1;
    __u32 probe = (number / shared.probe_every) & (WIRE_PROBES - 1);
    shared.sent[probe] = bpf_ktime_get_ns();
    source = of_probe(probe);
  } else if (shared.zipf) {
    source = of_set(shared.picks[number & (WIRE_PICKS - 1)] & shared.connection_mask);
  } else {
    // The member answers a datagram that opens a connection of the set, as it does a probe.
    probes = opens;
    // An odd factor steps through all of a power of two, neighbours far apart.
    source = of_set(((__u32)number * 0x9e3779b1u) & shared.connection_mask);
  }
  struct wire_template* template = &shared.templates[shared.side & 1][opens];
  __builtin_memcpy(data, template->headers, sizeof *at);
  __u32 sum = halves(source.address);
  at->ip.saddr = source.address;
  at->ip.tos = probes ? WIRE_PROBE_TOS : 0;
  at->ip.check = ~fold(template->network_sum + sum + (probes ? template->probe_sum : 0));
  __u16 check = ~fold(template->transport_sum + sum + source.port);
  if (at->ip.protocol == 6) {
    at->tcp.source = source.port;
    at->tcp.check = check;
  } else {
    at->udp.source = source.port;
    at->udp.check = check;
  }
  return bpf_redirect(shared.generator_ifindex, 0);
}

// Native XDP on an end makes its peer deliver redirected frames (its NAPI runs).
SEC("xdp")
int pass(struct xdp_md* frame) { return XDP_PASS; }

// ------------------------------------------------------------------------------------------ far ends

static __always_inline struct headers* headers_of(struct __sk_buff* frame) {
  if ((void*)(long)frame->data + sizeof(struct headers) > (void*)(long)frame->data_end)
    bpf_skb_pull_data(frame, sizeof(struct headers));
  struct headers* at = (void*)(long)frame->data;
  return (void*)(at + 1) > (void*)(long)frame->data_end ? NULL : at;
}

static __always_inline __u8 flags_of(const struct tcphdr* tcp) { return ((const __u8*)tcp)[13]; }

// Back where it came from; checksums stay right.
static __always_inline void turn(struct headers* at) {
  __u8 mac[ETH_ALEN];
  __builtin_memcpy(mac, at->ethernet.h_dest, ETH_ALEN);
  __builtin_memcpy(at->ethernet.h_dest, at->ethernet.h_source, ETH_ALEN);
  __builtin_memcpy(at->ethernet.h_source, mac, ETH_ALEN);
  __be32 address = at->ip.saddr;
  at->ip.saddr = at->ip.daddr;
  at->ip.daddr = address;
  __be16 port = at->udp.source;
  at->udp.source = at->udp.dest;
  at->udp.dest = port;
}

static __always_inline void next_segment(struct tcphdr* tcp, __u32 sequence, __u32 acknowledged, __u8 flags) {
  __u16 now = ((__u16*)tcp)[6];
  __u32 sum = (__u16)~tcp->check;
  sum += halves(~tcp->seq) + halves(~tcp->ack_seq) + (__u16)~now;
  tcp->seq = bpf_htonl(sequence);
  tcp->ack_seq = bpf_htonl(acknowledged);
  ((__u8*)tcp)[13] = flags;
  now = ((__u16*)tcp)[6];
  sum += halves(tcp->seq) + halves(tcp->ack_seq) + now;
  tcp->check = ~fold(sum);
}

// Behind an skb, as in a real server's kernel.
SEC("tc")
int sink(struct __sk_buff* frame) {
  if (frame->protocol != bpf_htons(ETH_P_IP)) return TC_ACT_OK;
  struct headers* at = headers_of(frame);
  if (at == NULL) return TC_ACT_SHOT;
  // What was not rewritten to one of the members' addresses was not forwarded but leaked.
  if ((at->ip.daddr & bpf_htonl(0xffff0000)) != bpf_htonl(0x0a020000)) return TC_ACT_SHOT;
  if (at->ip.protocol == 17) {
    own()->received++;
    if (at->ip.tos != WIRE_PROBE_TOS) return TC_ACT_SHOT;
    turn(at);
    return bpf_redirect(frame->ifindex, 0);
  }
  if (at->ip.protocol != 6) return TC_ACT_SHOT;
  __u8 flags = flags_of(&at->tcp);
  if (flags == kAck) own()->established++;
  if (flags == (kAck | kPush)) own()->received++;
  if (flags != kSyn) return TC_ACT_SHOT;
  own()->received++;
  turn(at);
  next_segment(&at->tcp, WIRE_SERVER_SEQUENCE, WIRE_CLIENT_SEQUENCE + 1, kSyn | kAck);
  return bpf_redirect(frame->ifindex, 0);
}

SEC("tc")
int back(struct __sk_buff* frame) {
  if (frame->protocol != bpf_htons(ETH_P_IP)) return TC_ACT_OK;
  struct headers* at = headers_of(frame);
  if (at == NULL) return TC_ACT_SHOT;
  if (at->ip.protocol == 17 && at->ip.tos == WIRE_PROBE_TOS) {
    __u32 probe = (bpf_ntohs(at->udp.dest) - 1024) & (WIRE_PROBES - 1);
    __u64 bucket = (bpf_ktime_get_ns() - shared.sent[probe]) / WIRE_BUCKET_NS;
    if (bucket >= WIRE_BUCKETS) bucket = WIRE_BUCKETS - 1;
    __sync_fetch_and_add(&shared.round_trips[bucket & (WIRE_BUCKETS - 1)], 1);
    own()->probes++;
    return TC_ACT_SHOT;
  }
  if (at->ip.protocol != 6 || flags_of(&at->tcp) != (kSyn | kAck)) return TC_ACT_SHOT;
  turn(at);
  next_segment(&at->tcp, WIRE_CLIENT_SEQUENCE + 1, WIRE_SERVER_SEQUENCE + 1, kAck);
  return bpf_redirect(frame->ifindex, 0);
}

// -------------------------------------------------------------------------------- contenders of UDP

static __always_inline struct headers* udp_of(struct xdp_md* frame) {
  struct headers* at = (void*)(long)frame->data;
  if ((void*)(at + 1) > (void*)(long)frame->data_end) return NULL;
  return at->ethernet.h_proto == bpf_htons(ETH_P_IP) && at->ip.protocol == 17 ? at : NULL;
}

// The physical limit of anything that rewrites an address and forwards, and remembers nothing.
SEC("xdp")
int redirect(struct xdp_md* frame) {
  struct headers* at = udp_of(frame);
  if (at == NULL) return XDP_PASS;
  __u32 change = halves(~at->ip.daddr) + halves(shared.member_address);
  at->ip.daddr = shared.member_address;
  at->ip.check = ~fold((__u16)~at->ip.check + change);
  at->udp.check = ~fold((__u16)~at->udp.check + change);
  __builtin_memcpy(at, shared.member_macs, 12);
  return bpf_redirect(shared.server_ifindex, 0);
}

SEC("xdp")
int redirect_back(struct xdp_md* frame) {
  struct headers* at = udp_of(frame);
  if (at == NULL) return XDP_PASS;
  __u32 change = halves(~at->ip.saddr) + halves(shared.virtual_address);
  at->ip.saddr = shared.virtual_address;
  at->ip.check = ~fold((__u16)~at->ip.check + change);
  at->udp.check = ~fold((__u16)~at->udp.check + change);
  __builtin_memcpy(at, shared.generator_macs, 12);
  return bpf_redirect(shared.client_ifindex, 0);
}

// What an XDP balancer does with a packet of a connection it keeps: one lookup in the kernel's own hash table, both
// addresses and ports rewritten. It never closes a connection, follows no state and chooses members in turn.
struct flow {
  __be32 source, destination;
  __be16 source_port, destination_port;
};
struct translation {
  struct flow to;
  __u32 packets;
};
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __type(key, struct flow);
  __type(value, struct translation);
  __uint(max_entries, (1 << 21) + (1 << 15));  // a connection has two; a million of them and the probes
} flows SEC(".maps");

static __always_inline void apply(struct headers* at, const struct flow* to) {
  __u32 change = halves(~at->ip.saddr) + halves(~at->ip.daddr) + halves(to->source) + halves(to->destination);
  at->ip.check = ~fold(halves((__u16)~at->ip.check + change));
  change += (__u16)~at->udp.source + (__u16)~at->udp.dest + to->source_port + to->destination_port;
  at->udp.check = ~fold(halves((__u16)~at->udp.check + change));
  at->ip.saddr = to->source;
  at->ip.daddr = to->destination;
  at->udp.source = to->source_port;
  at->udp.dest = to->destination_port;
}

static __always_inline struct translation* open_flow(const struct flow* from) {
  __u64 number = __sync_fetch_and_add(&shared.translations, 1);
  __u32 port = number / shared.members;
  struct translation there = {
      .to = {bpf_htonl(0x0a020101 + port / 64512), shared.member_address, bpf_htons(1024 + port % 64512),
             from->destination_port},
      .packets = 0,
  };
  there.to.destination = bpf_htonl(bpf_ntohl(there.to.destination) + number % shared.members);
  struct flow reply = {there.to.destination, there.to.source, there.to.destination_port, there.to.source_port};
  struct translation back = {
      .to = {from->destination, from->source, from->destination_port, from->source_port},
      .packets = 0,
  };
  if (bpf_map_update_elem(&flows, &reply, &back, BPF_NOEXIST) != 0) return NULL;
  if (bpf_map_update_elem(&flows, from, &there, BPF_NOEXIST) != 0) return NULL;
  return bpf_map_lookup_elem(&flows, from);
}

static __always_inline struct flow flow_of(const struct headers* at) {
  struct flow flow = {at->ip.saddr, at->ip.daddr, at->udp.source, at->udp.dest};
  return flow;
}

SEC("xdp")
int hash(struct xdp_md* frame) {
  struct headers* at = udp_of(frame);
  if (at == NULL) return XDP_PASS;
  struct flow flow = flow_of(at);
  struct translation* found = bpf_map_lookup_elem(&flows, &flow);
  if (found == NULL) found = open_flow(&flow);
  if (found == NULL) return XDP_DROP;
  found->packets++;
  apply(at, &found->to);
  __builtin_memcpy(at, shared.member_macs, 12);
  return bpf_redirect(shared.server_ifindex, 0);
}

SEC("xdp")
int hash_back(struct xdp_md* frame) {
  struct headers* at = udp_of(frame);
  if (at == NULL) return XDP_PASS;
  struct flow flow = flow_of(at);
  struct translation* found = bpf_map_lookup_elem(&flows, &flow);
  if (found == NULL) return XDP_DROP;
  found->packets++;
  apply(at, &found->to);
  __builtin_memcpy(at, shared.generator_macs, 12);
  return bpf_redirect(shared.client_ifindex, 0);
}

char license_name[] SEC("license") = "GPL";
