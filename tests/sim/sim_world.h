// The surroundings of an engine under one seed: time, randomness, devices that fail, the order of
// parallel work, and the points at which something else may run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "core/base/clock.h"
#include "core/base/executor.h"
#include "core/base/log.h"
#include "core/base/random.h"
#include "core/device/block_device.h"
#include "tests/support/memory_device.h"

namespace h2bd {

// One value over everything that happened, in its order.
class Digest {
 public:
  void Add(uint64_t value);
  void Add(absl::string_view text);
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 0;
};

// Which device calls fail: one in so many, 0: none. A failure may be the first of a row.
struct FaultRates {
  uint32_t reads = 0, writes = 0, headers = 0, syncs = 0;
};

// What everything in one simulation shares. One thread.
class SimWorld {
 public:
  explicit SimWorld(uint64_t seed) : rng_(seed) {}
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  // 0 to below - 1.
  uint64_t Pick(uint64_t below) { return rng_.Next64() % below; }
  bool OneIn(uint64_t n) { return n != 0 && Pick(n) == 0; }
  SeededRandom& rng() { return rng_; }
  // Never the same twice.
  uint64_t Serial() { return ++serial_; }
  Digest& digest() { return digest_; }
  // A line of the story, for whoever replays a failure (SimOptions::trace).
  void Tell(absl::string_view line);
  void set_trace(bool trace) { trace_ = trace; }

  // --- what else may run
  // `run` is called, never inside itself, wherever the engine waits for a device in a cycle or is
  // between two pieces of parallel work. The engine holds no lock there.
  void set_on_yield(absl::AnyInvocable<void()> run) { on_yield_ = std::move(run); }
  void Yield();
  // The same where a mutant gives up a lock that it should have kept: a whole cycle may run.
  void set_on_preempt(absl::AnyInvocable<void()> run) { on_preempt_ = std::move(run); }
  void Preempt();

  // --- faults
  // Also ends a row of failures.
  void set_faults(const FaultRates& rates);
  // After so many more device calls the server is dead: none of its calls does anything. 0: never.
  void KillAfter(uint64_t calls) { calls_to_live_ = calls; }
  void Kill() { dead_ = faulted_ = true; }
  bool dead() const { return dead_; }
  // Whether a fault hit the server that runs now.
  bool faulted() const { return faulted_; }
  // Whether one of them was a read's.
  bool read_failed() const { return read_failed_; }
  void NewServer();

  enum class Call { kRead, kWrite, kHeader, kSync };
  enum class Fate {
    kDone,
    kNothing,  // error, and nothing was done
    kPart,     // error, and a part was done
    kAll,      // error, but everything was done
  };
  Fate FateOf(Call call);

  // Microseconds since the start; each look takes one.
  int64_t Tick() { return now_ += 1; }

 private:
  SeededRandom rng_;
  Digest digest_;
  bool trace_ = false;
  int64_t now_ = 0;
  uint64_t serial_ = 0;
  absl::AnyInvocable<void()> on_yield_, on_preempt_;
  bool yielding_ = false;
  FaultRates rates_;
  uint64_t calls_to_live_ = 0;
  uint64_t failures_to_come_[4] = {};  // by Call
  bool dead_ = false, faulted_ = false, read_failed_ = false;
};

class SimClock final : public Clock {
 public:
  explicit SimClock(SimWorld& world) : world_(world) {}
  absl::Time WallNow() const override {
    return absl::FromUnixSeconds(1'700'000'000) + absl::Microseconds(world_.Tick());
  }
  absl::Duration MonotonicNow() const override { return absl::Microseconds(world_.Tick()); }

 private:
  SimWorld& world_;
};

// Pretends to be four threads: pieces of work run in a drawn order, with yields between them.
class SimExecutor final : public Executor {
 public:
  explicit SimExecutor(SimWorld& world) : world_(world) {}
  void Schedule(absl::AnyInvocable<void()> task) override { task(); }
  size_t workers() const override { return 4; }
  void RunAll(size_t n, absl::FunctionRef<void(size_t)> body) override;

 private:
  SimWorld& world_;
};

// Puts what the engine says into the story.
class SimLogger final : public Logger {
 public:
  // A mutant that gives up a lock says this, and then it may be preempted.
  static constexpr absl::string_view kPreemption = "preemption point";
  explicit SimLogger(SimWorld& world) : world_(world) {}
  void Write(LogSeverity severity, absl::string_view message,
             std::initializer_list<LogField> fields) override;

 private:
  SimWorld& world_;
};

// Does what it is told, and says that it failed when it was told to.
class LyingDevice final : public ForwardingDevice {
 public:
  explicit LyingDevice(BlockDevice& inner) : ForwardingDevice(inner) {}
  void FailNext() { fail_next_ = true; }
  absl::Status Write(ByteOff off, ConstByteSpan from) override;
  absl::Status Sync() override;

 private:
  absl::Status Outcome();
  bool fail_next_ = false;
};

// A device whose calls fail, yield and die as the world says. `inner` is a RecordingDevice over
// `below`, so that the record knows what failed.
class SimDevice final : public ForwardingDevice {
 public:
  SimDevice(BlockDevice& inner, LyingDevice& below, SimWorld& world)
      : ForwardingDevice(inner), below_(below), world_(world) {}
  absl::Status Read(ByteOff off, ByteSpan into) override;
  absl::Status Write(ByteOff off, ConstByteSpan from) override;
  absl::Status Sync() override;

 private:
  absl::Status Failure(absl::string_view call) const;
  LyingDevice& below_;
  SimWorld& world_;
};

}  // namespace h2bd
