// BPF programs of the wire benchmark: a generator for live frames, the limit (a stateless redirect) and sinks.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
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
  struct udphdr udp;
} __attribute__((packed));

static __always_inline __u16 fold(__u32 sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

static __always_inline struct wire_cpu* own(void) { return &shared.cpus[bpf_get_smp_processor_id() & (WIRE_CPUS - 1)]; }

// BPF_PROG_TEST_RUN with BPF_F_TEST_XDP_LIVE_FRAMES: pages are used again, so every header byte is written.
SEC("xdp")
int generate(struct xdp_md* frame) {
  void* data = (void*)(long)frame->data;
  struct headers* at = data;
  if (data + sizeof *at > (void*)(long)frame->data_end || shared.stopping) return XDP_DROP;
  __builtin_memcpy(data, shared.headers, sizeof *at);
  struct wire_cpu* cpu = own();
  // An odd factor steps through all of a power of two, neighbours far apart.
  __u32 connection = ((__u32)cpu->generated * 0x9e3779b1u) & shared.connection_mask;
  cpu->generated++;
  __be32 address = bpf_htonl(0x10000000 + (connection >> 10));
  __be16 port = bpf_htons(1024 + (connection & 0x3ff));
  __u32 sum = (address & 0xffff) + (address >> 16);
  at->ip.saddr = address;
  at->ip.check = ~fold(shared.network_sum + sum);
  at->udp.source = port;
  at->udp.check = ~fold(shared.transport_sum + sum + port);
  return bpf_redirect(shared.generator_ifindex, 0);
}

// The physical limit of anything that rewrites an address and forwards, and remembers nothing.
SEC("xdp")
int redirect(struct xdp_md* frame) {
  void* data = (void*)(long)frame->data;
  struct headers* at = data;
  if (data + sizeof *at > (void*)(long)frame->data_end) return XDP_PASS;
  if (at->ethernet.h_proto != bpf_htons(ETH_P_IP) || at->ip.protocol != 17) return XDP_PASS;
  __u32 before = ~at->ip.daddr, after = shared.redirect_address;
  __u32 change = (before & 0xffff) + (before >> 16) + (after & 0xffff) + (after >> 16);
  at->ip.daddr = after;
  at->ip.check = ~fold((__u16)~at->ip.check + change);
  at->udp.check = ~fold((__u16)~at->udp.check + change);
  __builtin_memcpy(data, shared.redirect_macs, 12);
  return bpf_redirect(shared.redirect_ifindex, 0);
}

// Native XDP on an end makes its peer deliver redirected frames (its NAPI runs).
SEC("xdp")
int pass(struct xdp_md* frame) { return XDP_PASS; }

// Behind an skb, as in a real server's kernel; counts and drops.
SEC("tc")
int sink(struct __sk_buff* frame) {
  if (frame->protocol != bpf_htons(ETH_P_IP)) return TC_ACT_OK;
  __be32 destination;
  if (bpf_skb_load_bytes(frame, ETH_HLEN + offsetof(struct iphdr, daddr), &destination, sizeof destination) < 0)
    return TC_ACT_SHOT;
  // What was not rewritten to one of the members' addresses was not forwarded but leaked.
  if ((destination & bpf_htonl(0xffff0000)) == bpf_htonl(0x0a020000)) own()->received++;
  return TC_ACT_SHOT;
}

char license_name[] SEC("license") = "GPL";
