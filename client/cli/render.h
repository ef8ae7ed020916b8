// The JSON form of what the server tells, in one place, because programs rely on it.
#pragma once

#include "client/api/types.h"
#include "client/cli/output.h"

namespace h2bd::cli {

Json DiskJson(const client::DiskInfo& disk);
Json VolumeJson(const client::VolumeInfo& volume);
Json SyncJson(const client::SyncInfo& sync);
Json FlushCycleJson(const client::FlushCycleInfo& cycle);
Json TransactionJson(const client::TransactionInfo& transaction);

}  // namespace h2bd::cli
