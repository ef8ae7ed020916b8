// A fake server with one disk, and a client of it that does not wait between tries.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "client/api/client.h"
#include "tests/client/fake_server.h"

namespace h2bd {

class ClientFixture : public testing::Test {
 protected:
  static constexpr uint64_t kDiskBytes = 4 * kMiB;

  ClientFixture() {
    server_.AddDisk("vm1", kDiskBytes);
    client_ = Connect();
  }

  std::unique_ptr<client::Client> Connect() {
    client::ConnectOptions options;
    options.target = server_.address();
    options.retry.delay_first = absl::Milliseconds(1);
    options.retry.delay_max = absl::Milliseconds(2);
    return *client::Client::Connect(options);
  }

  static client::DiskName Disk(const std::string& path) { return {.path = path}; }

  static std::string Pattern(size_t bytes, char first) {
    std::string text(bytes, '\0');
    for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(first + i % 97 + 1);
    return text;
  }

  FakeServer server_;
  std::unique_ptr<client::Client> client_;
};

inline const grpc::Status kUnavailable(grpc::StatusCode::UNAVAILABLE, "try again");

}  // namespace h2bd
