// Several clients of one volume, and the model that says what they must find.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "core/volume/volume.h"
#include "tests/sim/sim_model.h"
#include "tests/sim/sim_world.h"
#include "tests/support/crash_image.h"

namespace h2bd {

// The clients of one server. They go on until the server is closed or dead.
class SimClients {
 public:
  // `history` ends with what is on the volume.
  SimClients(SimWorld& world, Volume& volume, const IoLog& log, History& history);

  // Opens every disk of the model.
  absl::Status Begin();
  // Some client does something, while no cycle runs.
  void Step();
  // Some client does something that needs memory only, while a cycle runs.
  void StepInCycle();
  // What was read again must be what was written.
  void ReadSomething();
  // All handles go; then the volume can.
  void End();
  // The volume is small and fills up: changes may be refused. `settle` makes everything durable.
  void ExpectFullVolume(absl::AnyInvocable<void()> settle) { settle_ = std::move(settle); }
  // What the server did that it must not do.
  const absl::Status& failure() const { return failure_; }

 private:
  // A disk as a client sees it: the handle outlives a change of the name.
  struct OpenDisk {
    SimDiskName name;
    DiskRef ref;
    uint64_t id = 0;              // of the model's disk
    uint64_t last_operation = 0;  // that changed it
  };
  using DiskNumber = int;
  struct Range {
    uint64_t offset = 0;
    std::string bytes;
  };
  struct Staged {
    DiskNumber disk = 0;
    Range range;
    bool zeroes = false;
    std::optional<uint64_t> new_size;  // then nothing else of it counts
  };
  struct Client {
    std::optional<TxnId> txn;
    std::vector<Staged> staged;
  };
  using Change = absl::FunctionRef<void(ModelState&)>;

  DiskNumber AnyDisk();
  Range AnyRange(uint64_t size, uint64_t longest);
  std::string NewName();
  const ModelState& model() const { return history_.now().state; }
  uint64_t SizeOf(const OpenDisk& disk) const { return model().at(disk.name).size(); }

  void Write();
  void Zero();
  void Create();
  void Delete();
  void Rename();
  void Resize();
  void Transact(Client& client);
  void Stage(Client& client);
  void StageSize(Client& client);
  // Of a disk as the client's transaction sees it.
  uint64_t SizeIn(const Client& client, DiskNumber number);
  void Commit(Client& client);
  void Abort(Client& client);
  void SyncSomething();
  // What a Sync promises when it is answered with OK.
  struct SyncTarget {
    uint64_t operation = 0;
    OpSeq opseq;
    std::vector<uint64_t> disks;  // empty: all
  };
  SyncTarget TargetOf(const OpenDisk& disk) const;
  SyncTarget TargetOfPfs(const std::string& label) const;
  void OnSynced(const SyncTarget& target, const absl::StatusOr<SyncResult>& result);

  // Notes the outcome. True when it is OK. An error is one of `known` or has a fault behind it.
  bool Went(absl::string_view what, const absl::Status& status,
            std::initializer_list<absl::StatusCode> known = {});
  void Applied(OpSeq opseq, size_t began, const std::vector<DiskNumber>& disks, Change change);
  // A change of names waits for space as long as a cycle may bring some; here none would come.
  void SettleIfFull();
  void Wrong(const std::string& what);

  SimWorld& world_;
  Volume& volume_;
  const IoLog& log_;
  History& history_;
  std::map<DiskNumber, OpenDisk> disks_;
  std::vector<Client> clients_;
  int next_disk_ = 0;
  absl::AnyInvocable<void()> settle_;
  bool in_cycle_ = false, ended_ = false;
  absl::Status failure_;
};

}  // namespace h2bd
