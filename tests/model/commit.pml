/* The commit protocol of h2bd: cut, flush, barriers, header slot, publish, group commit, crash and
 * reopen. README.md maps it to the code and to spec 04, and lists the mutations (M_...).
 *
 * Two disks; disk d keeps its blocks on device d; device 0 is the root device, which also holds the
 * freemap copies and the header slots. Three operations: 0 writes disk 0, 1 is a transaction over
 * both disks, 2 writes disk 1. The content of a disk is the set of operations in it.
 */
#include "state.pml"
#include "cycle.pml"

/* ---------------------------------------------------------------------------- crash and reopen */
/* Into `j`: a slot with an undurable header write, or NSLOT. */
inline FindPending() {
  j = 0;
  do
  :: j < NSLOT && slot_pending[j].tid == 0 -> j++
  :: else -> break
  od;
  i = 0
}
/* Power loss: each undurable header write is there, not there, or torn. Then each header that is
 * there must be whole, whichever undurable block writes are there. */
inline Crash() {
  do
  :: d_step { j < NSLOT ->
       CopyHeader(slot_durable[j], slot_pending[j]); NoHeader(slot_pending[j]); FindPending() }
  :: d_step { j < NSLOT -> NoHeader(slot_pending[j]); FindPending() }
  :: d_step { j < NSLOT ->
       NoHeader(slot_durable[j]); NoHeader(slot_pending[j]); FindPending() }
  :: d_step { j == NSLOT ->
       for (i : 0 .. NSLOT - 1) {
         if
         :: slot_durable[i].tid ->
            FOUND(1, INTACT(slot_durable[i]));
            FOUND(9, WHOLE(slot_durable[i]))
         :: else
         fi
       }
       i = 0;
       FindNewest(NSLOT);
       CHECK(214, j < NSLOT);
       CHECK(2000, HAS(slot_durable[j], promised))
     }
     break
  od
}
/* Into `j`: the valid slot with the highest tid but slot `without`; ties go to the lowest slot. */
inline FindNewest(without) {
  j = NSLOT; k = 0;
  for (i : 0 .. NSLOT - 1) {
    if
    :: i != without && slot_durable[i].tid > k -> j = i; k = slot_durable[i].tid
    :: else
    fi
  }
  i = 0; k = 0
}
/* Open and HeaderRing::Fence; slot k (NSLOT: none) cannot be read now. `j` is the chosen slot. */
inline Open() {
  if
  :: k < NSLOT ->
#ifndef M_NO_FENCE
     NoHeader(slot_durable[k]) /* zeroed, barrier */
#endif
  :: else
  fi;
  last_tid = slot_durable[j].tid; issued_tid = last_tid; confirmed_tid = last_tid;
  confirmed_slot = j; tried_slot = j;
  tree_copy = slot_durable[j].copy;
  for (i : 0 .. 1) {
    tree_block[i] = slot_durable[j].block[i]; tree_ops[i] = slot_durable[j].ops[i]
  }
  for (i : 0 .. NSLOT - 1) {
    if
    :: i != k && slot_durable[i].tid ->
       ring_blocks[i] = slot_durable[i].cover; ring_copies[i] = BIT(slot_durable[i].copy)
    :: else
    fi
  }
  promised = tree_ops[0] | tree_ops[1];
  for (i : 0 .. 2 * NB - 1) { block_pending[i] = 0 }
  for (i : 0 .. NCOPY - 1) { copy_pending[i] = 0 }
  i = 0; j = 0; k = 0;
  ForgetNoise()
}

inline Format() {
  for (i : 0 .. NSLOT - 1) {
#ifdef AGED /* the four last cycles of a volume that has run for long */
    slot_durable[i].tid = i + 1; slot_durable[i].block[0] = i; slot_durable[i].block[1] = i;
    slot_durable[i].copy = i;
#else
    slot_durable[i].tid = 1;
#endif
    slot_durable[i].cover = BLOCKS_OF(slot_durable[i]);
    block_durable[BLOCK(0, slot_durable[i].block[0])] = CONTENT(0);
    block_durable[BLOCK(1, slot_durable[i].block[1])] = CONTENT(0);
    copy_durable[slot_durable[i].copy] = slot_durable[i].cover
  }
  i = 0
}

active proctype Server() {
  d_step { Format(); FindNewest(NSLOT); k = NSLOT; Open() }
boot:
  {
    end_idle: do
    /* GroupCommit::Work: a Sync waits, dirty data is old, or the pause after a failure is over */
    :: d_step { !failstop && (sync_wanted || registered[0] || registered[1] ||
                              failed_in_a_row > 0 || publish_pending) -> sync_wanted = 0 }
       TakeCut();
       TakeDirty();
       d_step { FreezeDisk(1) }
       if
       :: in_cycle == 0 && !publish_pending -> FinishCycle(true)
       :: else ->
          working = 1;
          FlushDisk(0);
          AfterDisk();
#ifdef M_ALLOCATE_AFTER_WALK
          FlushFreemap();
#endif
          FlushDisk(1);
          AfterDisk();
#ifndef M_ALLOCATE_AFTER_WALK
          FlushFreemap();
#endif
          MakeImage();
#ifndef M_NO_BARRIER_1
          Barrier1(0);
#ifndef M_ONE_DEVICE_BARRIER
          Barrier1(1);
#endif
#endif
          WriteHeader();
#ifndef M_NO_BARRIER_2
          Barrier2();
#endif
finish:   working = 0;
          FinishCycle(false)
       fi
    od
  } unless { power_lost }
  Crash();
  if
  :: crashes == NCRASH -> goto over
  :: d_step { crashes < NCRASH -> k = NSLOT; Open(); power_lost = 0 }
     goto boot
  /* The newest header cannot be read now. That loses what it holds; no more may be lost. */
  :: d_step { crashes < NCRASH && !unreadable_used ->
       k = j; unreadable_used = 1;
       mask = k; FindNewest(mask); k = mask; mask = 0;
       if :: j < NSLOT -> Open(); power_lost = 0 :: else -> j = 0; k = 0 fi
     }
     if
     :: !power_lost -> goto boot
     :: power_lost -> goto over /* no header can be read */
     fi
  fi;
over:
  skip
}

active proctype Power() {
end_power:
  do
  :: d_step { !power_lost && crashes < NCRASH ->
       power_lost = 1; crashes++; ForgetMemory(); ForgetNoise(); FindPending() }
  /* Nothing can happen any more: then nobody waits, and what was done is durable. */
  :: timeout -> RULE(101, failstop || (durable == opseq && waiters == 0)); break
  od
}
