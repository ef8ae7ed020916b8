/* What clients do, and the steps of a cycle in their order. */

/* -------------------------------------------------------------------------------------- clients */
inline ApplyTo(op, d) { /* Disk::Write: opens a generation, or adds to the open one */
  if
  :: open_ops[d] != 0 && open_generation[d] != generation ->
     frozen_ops[d] = frozen_ops[d] | open_ops[d]; open_ops[d] = 0
  :: else
  fi;
  open_ops[d] = open_ops[d] | BIT(op);
  open_generation[d] = generation;
  registered[generation] = registered[generation] | BIT(d)
}
inline NumberAndLeave(op) { opseq++; op_number[op] = opseq; holders--; op_step[op] = 3 }

/* While `working`, P2 to P11 touch nothing that a client does, nor the other way round: it is
 * enough to let clients run before and after. */
#define RUNNING (!power_lost && !failstop && !working)

active proctype Clients() {
end_clients:
  do
  :: d_step { RUNNING && op_step[0] == 0 -> holders++; ApplyTo(0, 0); op_step[0] = 1 }
  :: d_step { RUNNING && op_step[0] == 1 -> NumberAndLeave(0) }
  :: d_step { RUNNING && op_step[2] == 0 -> holders++; ApplyTo(2, 1); op_step[2] = 1 }
  :: d_step { RUNNING && op_step[2] == 1 -> NumberAndLeave(2) }
  :: d_step { RUNNING && op_step[1] == 0 ->
       holders++; ApplyTo(1, 0); op_step[1] = 1;
#ifdef M_SPLIT_TRANSACTION
       holders--
#endif
     }
  :: d_step { RUNNING && op_step[1] == 1 ->
#ifdef M_SPLIT_TRANSACTION
       holders++;
#endif
       ApplyTo(1, 1); op_step[1] = 2 }
  :: d_step { RUNNING && op_step[1] == 2 -> NumberAndLeave(1) }
  /* SyncTo. One whose target is durable is answered at once: Settle promises for it. */
  :: d_step { RUNNING && opseq > durable && (waiters & BIT(opseq)) == 0 ->
       waiters = waiters | BIT(opseq); sync_wanted = 1 }
  od
}

/* -------------------------------------------------------------------------------------- Flusher */
inline TakeCut() {
  d_step {
    holders == 0 ->
    cut_opseq = opseq; generation = 1 - generation
  }
}
inline FreezeDisk(d) {
  if
  :: (in_cycle & BIT(d)) && open_ops[d] != 0 && open_generation[d] != generation ->
     frozen_ops[d] = frozen_ops[d] | open_ops[d]; open_ops[d] = 0
  :: else
  fi
}
inline TakeDirty() {
  d_step {
    in_cycle = carried | registered[1 - generation];
    registered[1 - generation] = 0; carried = 0;
    FreezeDisk(0)
  }
}
/* Into `mask`: blocks that the freemap in memory does not give out: what the headers in the ring
 * call used, and what was given out since. */
inline UsedBlocks() {
  mask = 0;
  for (i : 0 .. 1) {
    if :: tree_fresh[i] -> mask = mask | BIT(BLOCK(i, tree_block[i])) :: else fi
  }
  for (i : 0 .. NSLOT - 1) {
#if defined(M_FREE_ON_UNDURABLE)
    if :: i == tried_slot -> mask = mask | BLOCKS_OF(image) :: else fi
#elif defined(M_FREE_ONE_HEADER_EARLY)
    if :: i == confirmed_slot || slot_failures[i] > 0 -> mask = mask | ring_blocks[i] :: else fi
#else
    mask = mask | ring_blocks[i]
#endif
  }
  i = 0
}
inline WriteBlock(d, b) {
  for (i : 0 .. NSLOT - 1) {
    RULE(2, slot_durable[i].tid == 0 || slot_durable[i].block[d] != b);
    RULE(2, slot_pending[i].tid == 0 || slot_pending[i].block[d] != b)
  }
  i = 0;
  block_pending[BLOCK(d, b)] = CONTENT(tree_ops[d]);
  barrier_done[d] = 0
}
/* P2 to P4 of one disk: a new block, and the tree in memory names it. */
#define NOT_IN_CYCLE(d) ((in_cycle & BIT(d)) == 0)
inline FlushDisk(d) {
  if
  :: !GOES_ON -> goto finish
  :: GOES_ON && NOT_IN_CYCLE(d) -> skip
  :: d_step { GOES_ON && !NOT_IN_CYCLE(d) ->
       UsedBlocks();
       j = 0;
       do
       :: j < NB && (mask & BIT(BLOCK(d, j))) -> j++
       :: else -> break
       od;
       if
       :: j == NB -> error = ABORT; errored = errored | BIT(d)
       :: else ->
          tree_block[d] = j; tree_fresh[d] = 1;
          tree_ops[d] = tree_ops[d] | frozen_ops[d];
          WriteBlock(d, j)
       fi;
       j = 0; mask = 0
     }
  /* no space, an unreadable table */
  :: d_step { MAY_FAIL && !NOT_IN_CYCLE(d) -> Fault(ABORT); errored = errored | BIT(d) }
  fi
}
inline AfterDisk() {
#ifdef M_PUBLISH_AFTER_ERROR
  error = OK
#else
  skip
#endif
}
/* P5 to P7: the walk over the freemap, once, into a copy that no header names; then the image. */
inline FlushFreemap() {
  d_step {
    if
    :: error != OK
    :: else ->
       j = 0;
       for (i : 0 .. NSLOT - 1) { j = j | ring_copies[i] }
       k = 1; i = (tree_copy + 1) % NCOPY;
       do
       :: k <= NCOPY && (j & BIT(i)) -> k++; i = (i + 1) % NCOPY
       :: else -> break
       od;
       if
       :: k > NCOPY -> error = FAILSTOP; copies_gone = 1
       :: else ->
          tree_copy = i; image.copy = i;
          image.cover = BIT(BLOCK(0, tree_block[0])) | BIT(BLOCK(1, tree_block[1]));
          for (k : 0 .. NSLOT - 1) {
            RULE(28, slot_durable[k].tid == 0 || slot_durable[k].copy != tree_copy);
            RULE(28, slot_pending[k].tid == 0 || slot_pending[k].copy != tree_copy)
          }
          copy_pending[tree_copy] = image.cover; barrier_done[0] = 0
       fi;
       i = 0; j = 0; k = 0
    fi
  }
}
inline MakeImage() {
  d_step {
    if
    :: error != OK
    :: else ->
       image.tid = last_tid + 1;
       image.block[0] = tree_block[0]; image.block[1] = tree_block[1];
       image.ops[0] = tree_ops[0]; image.ops[1] = tree_ops[1]
    fi
  }
}
inline MakeDurable(d) {
  for (i : 0 .. NB - 1) {
    if
    :: block_pending[BLOCK(d, i)] ->
       block_durable[BLOCK(d, i)] = block_pending[BLOCK(d, i)]; block_pending[BLOCK(d, i)] = 0
    :: else
    fi
  }
  if
  :: d == 0 ->
     for (i : 0 .. NCOPY - 1) {
       if
       :: copy_pending[i] -> copy_durable[i] = copy_pending[i]; copy_pending[i] = 0
       :: else
       fi
     }
     for (i : 0 .. NSLOT - 1) {
       if
       :: slot_pending[i].tid ->
          CopyHeader(slot_durable[i], slot_pending[i]); NoHeader(slot_pending[i])
       :: else
       fi
     }
  :: else
  fi;
  barrier_done[d] = 1;
  i = 0
}
/* P8 and P9. A failed write or barrier is final: what the device holds is unknown. */
inline Barrier1(d) {
  if
  :: !GOES_ON -> goto finish
  :: d_step { GOES_ON -> MakeDurable(d) }
  :: d_step { MAY_FAIL -> Fault(FAILSTOP); errored = errored | 4 }
  fi
}
/* HeaderRing::ChooseSlot into `j`; NSLOT when none is left. */
inline ChooseSlot() {
#ifdef M_ADVANCE_SLOT
  j = (tried_slot + 1) % NSLOT
#else
  j = confirmed_slot; k = 0;
  do
  :: k == NSLOT -> j = NSLOT; break
  :: else ->
     k++; j = (j + 1) % NSLOT;
     if
     :: j != confirmed_slot && slot_failures[j] < TRIES_PER_SLOT -> break
     :: else
     fi
  od;
  k = 0
#endif
}
/* P10. */
inline BeginHeader() {
  d_step {
    if
    :: !GOES_ON
    :: else ->
       ChooseSlot();
       if
       :: j == NSLOT -> error = FAILSTOP
       :: else ->
          RULE(3, j != confirmed_slot);
          RULE(6, (image.cover & BLOCKS_OF(image)) == BLOCKS_OF(image));
          RULE(25, barrier_done[0] && barrier_done[1]);
          RULE(26, errored == 0);
          RULE(216, image.tid > issued_tid);
          tried_slot = j; issued_tid = image.tid;
#ifndef M_REUSE_TID
          last_tid = image.tid;
#endif
          ring_blocks[j] = ring_blocks[j] | BLOCKS_OF(image);
#ifndef M_OVERWRITE_UNKNOWN_COPY
          ring_copies[j] = ring_copies[j] | BIT(image.copy);
#endif
       fi;
       j = 0
    fi
  }
}
inline FailPublish() { Fault(ABORT); slot_failures[tried_slot]++; failed_in_a_row++ }
inline WriteHeader() {
  BeginHeader();
  if
  :: !GOES_ON -> goto finish
  :: d_step { GOES_ON -> CopyHeader(slot_pending[tried_slot], image) }
  /* it reached the device all the same */
  :: d_step { MAY_FAIL -> FailPublish(); CopyHeader(slot_pending[tried_slot], image) }
  /* nothing was written */
  :: d_step { MAY_FAIL -> FailPublish() }
  /* torn */
  :: d_step { MAY_FAIL ->
       FailPublish(); NoHeader(slot_pending[tried_slot]); NoHeader(slot_durable[tried_slot]) }
  fi
}
/* P11. A failed barrier leaves the header in the device's cache, or has lost it. */
inline Barrier2() {
  if
  :: !GOES_ON -> goto finish
  :: d_step { GOES_ON -> MakeDurable(0) }
  :: d_step { MAY_FAIL -> FailPublish() }
  :: d_step { MAY_FAIL -> FailPublish(); NoHeader(slot_pending[tried_slot]) }
  fi
}

/* Into `k`: the operations with a number up to `number`. */
inline OpsUpTo(number) {
  k = 0;
  for (i : 0 .. OPS - 1) {
    if :: op_number[i] > 0 && op_number[i] <= number -> k = k | BIT(i) :: else fi
  }
  i = 0
}
/* P12: HeaderRing::Publish, Flusher::FinishCycle. */
inline Publish() {
  RULE(1, INTACT(image) && slot_durable[tried_slot].tid == image.tid);
  RULE(4, image.tid > confirmed_tid);
  RULE(9, WHOLE(image));
  OpsUpTo(cut_opseq);
  RULE(10, HAS(image, k));
  confirmed_slot = tried_slot; confirmed_tid = image.tid; last_tid = image.tid;
  ring_blocks[tried_slot] = BLOCKS_OF(image); ring_copies[tried_slot] = BIT(image.copy);
#ifndef M_KEEP_FAILURES
  for (i : 0 .. NSLOT - 1) { slot_failures[i] = 0 }
#endif
  for (i : 0 .. 1) { if :: in_cycle & BIT(i) -> frozen_ops[i] = 0 :: else fi }
  i = 0;
  publish_pending = 0; failed_in_a_row = 0
}
/* Flusher::Failed. */
inline Failed() {
  /* L-4: no failure but by a fault in this very cycle, or because the slots are used up. */
  RULE(104, fault_now || failed_in_a_row >= TRIES_PER_SLOT * (NSLOT - 1) ||
            (copies_gone && NCOPY < ENOUGH_COPIES));
#ifdef M_DROP_ERRORED
  carried = in_cycle & ~errored;
#else
  carried = in_cycle;
#endif
  publish_pending = 1;
  if
  :: error == FAILSTOP || failed_in_a_row >= MAXFAIL -> failstop = 1
  :: else
  fi
}
/* GroupCommit::Settle: answers the Syncs that the cut covers; after fail-stop, all. */
inline Settle() {
  if
  :: error == OK ->
     if :: cut_opseq > durable -> durable = cut_opseq :: else fi;
#ifdef M_EARLY_ANSWER
     for (j : 1 .. OPS) {
       if
       :: waiters & BIT(j) ->
          RULE(11, j <= durable);
          OpsUpTo(j); promised = promised | k; waiters = waiters & ~BIT(j)
       :: else
       fi
     }
     j = 0;
#endif
     OpsUpTo(durable);
     promised = promised | k
  :: else
  fi;
  for (i : 0 .. OPS) {
    if :: i <= cut_opseq || failstop -> waiters = waiters & ~BIT(i) :: else fi
  }
  i = 0; k = 0;
#ifdef M_LOST_WAKEUP
  sync_wanted = 0;
#else
  if :: waiters -> sync_wanted = 1 :: else fi;
#endif
  RULE(101, waiters == 0 || sync_wanted) /* L-1: who waits has a cycle coming */
}
inline ForgetMemory() {
  holders = 0; opseq = 0; generation = 0; carried = 0; publish_pending = 0; failstop = 0;
  in_cycle = 0; cut_opseq = 0; errored = 0; error = OK; fault_now = 0; copies_gone = 0;
  working = 0; waiters = 0; sync_wanted = 0; durable = 0; failed_in_a_row = 0;
  for (i : 0 .. 1) {
    open_ops[i] = 0; open_generation[i] = 0; frozen_ops[i] = 0; registered[i] = 0;
    barrier_done[i] = 0; tree_block[i] = 0; tree_ops[i] = 0;
    tree_fresh[i] = 0
  }
  for (i : 0 .. NSLOT - 1) { slot_failures[i] = 0; ring_blocks[i] = 0; ring_copies[i] = 0 }
  for (i : 0 .. OPS - 1) {
    op_number[i] = 0;
    if :: op_step[i] > 0 -> op_step[i] = 3 :: else fi
  }
  i = 0;
  tree_copy = 0; tried_slot = 0; confirmed_slot = 0;
  last_tid = 0; issued_tid = 0; confirmed_tid = 0;
  NoHeader(image)
}
/* What nobody names any more is noise: one value for it, or there were states without end. */
inline ForgetNoise() {
  mask = BIT(BLOCK(0, tree_block[0])) | BIT(BLOCK(1, tree_block[1])); k = BIT(tree_copy);
  for (i : 0 .. NSLOT - 1) {
    if
    :: slot_durable[i].tid ->
       mask = mask | BLOCKS_OF(slot_durable[i]); k = k | BIT(slot_durable[i].copy)
    :: else
    fi;
    if
    :: slot_pending[i].tid ->
       mask = mask | BLOCKS_OF(slot_pending[i]); k = k | BIT(slot_pending[i].copy)
    :: else
    fi
  }
  for (i : 0 .. 2 * NB - 1) {
    if :: (mask & BIT(i)) == 0 -> block_durable[i] = 0; block_pending[i] = 0 :: else fi
  }
  for (i : 0 .. NCOPY - 1) {
    if :: (k & BIT(i)) == 0 -> copy_durable[i] = 0; copy_pending[i] = 0 :: else fi
  }
  i = 0; k = 0; mask = 0
}
inline FinishCycle(nothing) {
  d_step {
    if
    :: nothing
    :: !nothing && error == OK -> Publish()
    :: !nothing && error != OK -> Failed()
    fi;
    Settle();
#ifdef WITNESS /* this must be reachable: a run with all faults in it that ends well */
    CHECK(900, durable < OPS || faults < NFAULT || failstop);
#endif
    NoHeader(image);
    in_cycle = 0; cut_opseq = 0; errored = 0; error = OK; fault_now = 0; copies_gone = 0;
    barrier_done[0] = 0; barrier_done[1] = 0;
    if
    :: failstop -> ForgetMemory(); failstop = 1 /* all that can still happen is a crash */
    :: else
    fi;
    ForgetNoise()
  }
}
