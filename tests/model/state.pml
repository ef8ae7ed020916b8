/* Bounds, what is checked, and all state: the media, the memory of the server, the world. */

#ifndef NSLOT
#define NSLOT 2 /* header slots */
#endif
#ifndef NFAULT
#define NFAULT 3 /* faults in a run, of any kind */
#endif
/* Enough for what the slots name, what failed publishes may have named, and one more. The format
 * has 8 copies, which is this for 4 slots and 3 faults. */
#define ENOUGH_COPIES (NSLOT + NFAULT + 1)
#ifndef NCOPY
#define NCOPY ENOUGH_COPIES /* copies of the freemap block */
#endif
#define NB (NSLOT + NFAULT + 2) /* blocks of a device: one more, of a tree that was not published */
#ifndef NCRASH
#define NCRASH 2 /* after the last one the run ends; after the others the volume is opened again */
#endif
#ifndef MAXFAIL
#define MAXFAIL 3 /* failed publishes in a row, then fail-stop */
#endif
#define TRIES_PER_SLOT 2

/* A number below 100 is an invariant I-nn of spec 04 section 12, 101 and 104 are L-1 and L-4, 206
 * to 218 are rules F-nnn, 2000 is the promise to clients: what a Sync confirmed is there after a
 * crash. pan prints the expression of a violated assertion, and with it the number.
 *
 * A RULE is judged when the step is taken. FOUND is judged by what a mount finds after a crash.
 * With ORACLE_ONLY nothing but the latter is, with PROMISE_ONLY nothing but the promise. */
#define CHECK(n, condition) assert((n < 0) || (condition))
#if defined(ORACLE_ONLY) || defined(PROMISE_ONLY)
#define RULE(n, condition) skip
#else
#define RULE(n, condition) CHECK(n, condition)
#endif
#ifdef PROMISE_ONLY
#define FOUND(n, condition) skip
#else
#define FOUND(n, condition) CHECK(n, condition)
#endif

#define OPS 3
#define ON_DISK(op, d) ((op) == 1 || (op) == 2 * (d))
#define CONTENT(ops) (8 | (ops))
#define BLOCK(d, b) ((d) * NB + (b))
#define BIT(n) (1 << (n))

/* ---------------------------------------------------------------------------------- the media */
typedef Header {
  byte tid; /* 0: no valid header */
  byte block[2];
  byte ops[2];
  byte copy;   /* of the freemap block */
  int cover; /* the blocks that this copy calls used */
};
/* What is durable, and what was written since: a crash keeps the one, the other, or a torn mix.
 * 0 is nothing. */
byte block_durable[2 * NB], block_pending[2 * NB];
int copy_durable[NCOPY], copy_pending[NCOPY];
Header slot_durable[NSLOT], slot_pending[NSLOT];

/* Reads as the header says in each outcome of a crash: durable, and not being overwritten. */
#define BLOCK_SAFE(d, h) \
  (block_durable[BLOCK(d, h.block[d])] == CONTENT(h.ops[d]) && \
   (block_pending[BLOCK(d, h.block[d])] == 0 || \
    block_pending[BLOCK(d, h.block[d])] == CONTENT(h.ops[d])))
#define COPY_SAFE(h) \
  (copy_durable[h.copy] == h.cover && \
   (copy_pending[h.copy] == 0 || copy_pending[h.copy] == h.cover))
#define INTACT(h) (BLOCK_SAFE(0, h) && BLOCK_SAFE(1, h) && COPY_SAFE(h))
#define BLOCKS_OF(h) (BIT(BLOCK(0, h.block[0])) | BIT(BLOCK(1, h.block[1])))
#define WHOLE(h) ((h.ops[0] & BIT(1)) == (h.ops[1] & BIT(1)))
#define HAS(h, set) (((h.ops[0] | h.ops[1]) & (set)) == (set))

/* --------------------------------------------------------------------- the memory of the server */
/* TransGate */
byte holders, opseq;
bit generation; /* only the running and the next one exist at a time: one bit */
/* Disk and DirtyRegistry */
byte open_ops[2], frozen_ops[2];
bit open_generation[2];
byte registered[2]; /* by generation, a set of disks */
/* Flusher: what a failed cycle leaves */
byte carried;
bit publish_pending, failstop;
/* Flusher: the cycle */
byte in_cycle, cut_opseq, errored;
byte error;
#define OK 0
#define ABORT 1
#define FAILSTOP 2
Header image;
/* the topology in memory */
byte tree_block[2], tree_ops[2], tree_copy;
bit tree_fresh[2]; /* the block was given out since the volume was opened */
/* HeaderRing: by slot, what its entries name, the confirmed one and those of unknown outcome */
byte confirmed_slot, slot_failures[NSLOT], last_tid, tried_slot;
int ring_blocks[NSLOT];
byte ring_copies[NSLOT];
/* GroupCommit */
byte waiters; /* bit t: a Sync with target t waits */
bit sync_wanted;
byte durable, failed_in_a_row;

/* ----------------------------------------------------------------- the world, and what it knows */
byte op_step[OPS]; /* 0 not begun, 1 and 2 in the gate, 3 ended */
byte op_number[OPS];
byte promised; /* operations that must survive */
byte issued_tid, confirmed_tid;
bit barrier_done[2]; /* since the last block write on the device */
bit fault_now, copies_gone, working;
byte faults, crashes;
bit power_lost, unreadable_used;
byte i, j, k; /* loops; 0 between steps */
int mask;

inline CopyHeader(to, from) {
  to.tid = from.tid;
  to.block[0] = from.block[0]; to.block[1] = from.block[1];
  to.ops[0] = from.ops[0]; to.ops[1] = from.ops[1];
  to.copy = from.copy; to.cover = from.cover;
}
inline NoHeader(h) {
  h.tid = 0; h.block[0] = 0; h.block[1] = 0; h.ops[0] = 0; h.ops[1] = 0; h.copy = 0; h.cover = 0;
}
/* One step may go wrong. Each alternative of a phase is one d_step: one state, not many. */
#define GOES_ON (error == OK)
#define MAY_FAIL (error == OK && faults < NFAULT)
inline Fault(outcome) { faults++; fault_now = 1; error = outcome }
