// What the wire benchmark and its BPF programs share: one struct, mapped into both.
#pragma once

#include <linux/types.h>

#define WIRE_CPUS 64
#define WIRE_HEADERS 54        // Ethernet, IPv4, TCP; of UDP, the headers and twelve octets of payload
#define WIRE_PICKS (1u << 20)  // draws of the Zipf distribution, gone through in a circle
#define WIRE_PROBES 4096u      // connections of the probes, and how many may be under way
#define WIRE_PROBE_TOS 0x04    // how the far end tells a probe
#define WIRE_BUCKETS 32768u    // of round trips
#define WIRE_BUCKET_NS 256u

// TCP sequence numbers of both sides, the same for every connection: conntrack looks at them.
#define WIRE_CLIENT_SEQUENCE 0x01000000u
#define WIRE_SERVER_SEQUENCE 0x02000000u

struct wire_cpu {
  __u64 received;     // at the sink: what the generator made, as far as it came through
  __u64 established;  // at the sink: the third packet of a handshake
  __u64 probes;       // back at the generator
  __u64 unused[5];
};

// A frame whose source address and port are zero, checksums too.
struct wire_template {
  __u8 headers[64];
  __u32 network_sum;    // of its IPv4 header, uncomplemented
  __u32 transport_sum;  // of its pseudo-header, UDP or TCP header and payload
  __u32 probe_sum;      // what WIRE_PROBE_TOS adds to network_sum
  __u32 unused;
};

struct wire_shared {
  struct wire_template templates[2][2];  // of each side: of data; of what opens a connection
  __u32 connection_mask;                 // connections less one; a power of two of them
  __u32 zipf;                            // 1: the connection is picks[], else all in turn
  __u32 open_every;                      // one frame in so many opens a new connection; 0: none
  __u32 open_set;                        // 1: the frames open the connections of connection_mask
  __u32 probe_every;                     // a power of two; one frame in so many is a probe; 0: none
  __u32 generator_ifindex, client_ifindex, server_ifindex;
  __u32 virtual_address, member_address;     // in network byte order
  __u8 member_macs[12], generator_macs[12];  // destination, source: of what leaves by `server`, by `client`
  __u32 members, stopping;
  __u32 side;               // which of the templates; 1 only in slices
  __u64 generated, opened;  // by the generator alone; `opened` is never set back
  __u64 translations;       // made by `hash`
  struct wire_cpu cpus[WIRE_CPUS];
  __u64 sent[WIRE_PROBES];  // when, CLOCK_MONOTONIC
  __u32 round_trips[WIRE_BUCKETS];
  __u32 picks[WIRE_PICKS];
};
