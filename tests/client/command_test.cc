// The whole command against a fake server: what it prints and how it exits.
#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "client/cli/app.h"
#include "core/base/status.h"
#include "nlohmann/json.hpp"
#include "tests/client/client_fixture.h"

namespace h2bd::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class CommandTest : public ClientFixture {
 protected:
  CommandTest() {
    char name[] = "h2bd_command_XXXXXX";
    dir_ = mkdtemp(name);
  }
  ~CommandTest() override {
    for (const std::string& file : files_) unlink(file.c_str());
    rmdir(dir_.c_str());
  }

  std::string File(const std::string& name, const std::string& content) {
    const std::string path = Path(name);
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  std::string Path(const std::string& name) {
    files_.push_back(dir_ + "/" + name);
    return files_.back();
  }
  static std::string Slurp(const std::string& path) {
    std::ostringstream out;
    out << std::ifstream(path, std::ios::binary).rdbuf();
    return out.str();
  }

  // Runs `h2bd --server … ARGUMENTS`; the exit code. out_ and err_ hold what it said.
  int Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"h2bd", "--server", server_.address()});
    std::vector<const char*> argv;
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    std::ostringstream out, err;
    const int code = RunCommand(static_cast<int>(argv.size()), argv.data(), out, err);
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  std::string dir_, out_, err_;
  std::vector<std::string> files_;
};

TEST_F(CommandTest, Disks) {
  EXPECT_EQ(Run({"disk", "create", "new", "--size", "10M"}), 0) << err_;
  EXPECT_EQ(out_, "created DATA/new, 10.0 MiB (10485760 bytes)\n");
  EXPECT_EQ(Run({"disk", "create", "new", "--size", "10M"}), 4);
  EXPECT_EQ(err_, "h2bd: create disk new: the name is taken (ALREADY_EXISTS)\n");
  EXPECT_EQ(Run({"disk", "ls"}), 0);
  EXPECT_EQ(out_,
            "NAME          SIZE   STORED  MODIFIED\n"
            "DATA/new  10.0 MiB  5.0 MiB  -\n"
            "DATA/vm1   4.0 MiB  2.0 MiB  -\n");
  EXPECT_EQ(Run({"disk", "resize", "new", "--size", "5M", "-o", "json"}), 0);
  EXPECT_EQ(nlohmann::json::parse(out_).at("size_bytes"), 5 * kMiB);
  EXPECT_EQ(Run({"disk", "rename", "new", "newer"}), 0);
  EXPECT_EQ(Run({"disk", "rename", "newer", "OTHER/x"}), 2);
  EXPECT_EQ(Run({"disk", "info", "newer"}), 0);
  EXPECT_THAT(out_, HasSubstr("created:     2023-11-14T22:13:20Z\n"));
  EXPECT_EQ(Run({"-o", "json", "disk", "rm", "newer"}), 0);
  EXPECT_EQ(nlohmann::json::parse(out_).at("deleted"), "newer");
  EXPECT_EQ(Run({"disk", "rm", "newer"}), 3);
  EXPECT_EQ(out_, "");
}

TEST_F(CommandTest, WriteReadSync) {
  const std::string in = File("in", "hello"), out = Path("out");
  EXPECT_EQ(Run({"write", "vm1", "--offset", "1K", in}), 0) << err_;
  EXPECT_EQ(out_, "wrote 5 bytes to vm1 at offset 1024, durable after a sync\n");
  EXPECT_EQ(Run({"write", "vm1", "--offset", "0", in, "--durable"}), 0);
  EXPECT_EQ(server_.DurableContent("vm1").substr(0, 5), "hello");
  EXPECT_EQ(Run({"read", "vm1", "--offset", "1024", "--length", "5", out}), 0) << err_;
  EXPECT_EQ(Slurp(out), "hello");
  EXPECT_EQ(Run({"sync"}), 0);
  EXPECT_THAT(out_, StartsWith("durable up to change "));
  EXPECT_EQ(Run({"sync", "vm1", "-o", "json"}), 0);
  EXPECT_GT(nlohmann::json::parse(out_).at("mirror_tid"), 0);
}

TEST_F(CommandTest, ARangeBeyondTheDiskMovesNothing) {
  const std::string in = File("in", std::string(2 * kMiB, 'x')), out = Path("out");
  EXPECT_EQ(Run({"write", "vm1", "--offset", "3M", in}), 2);
  EXPECT_THAT(
      err_,
      HasSubstr("2097152 bytes at offset 3145728 do not lie within the disk of 4194304 bytes"));
  EXPECT_EQ(server_.Content("vm1"), std::string(kDiskBytes, '\0'));
  EXPECT_EQ(Run({"read", "vm1", "--offset", "4M", "--length", "1", out}), 2);
  EXPECT_EQ(access(out.c_str(), F_OK), -1);
  EXPECT_EQ(Run({"read", "nix", "--length", "1", out}), 3);
}

TEST_F(CommandTest, ImportAndExport) {
  const std::string data = std::string(kMiB, '\0') + Pattern(3 * kMiB / 2, 'i');
  const std::string in = File("in", data), out = Path("out");
  EXPECT_EQ(Run({"import", in, "copy", "-o", "json"}), 0) << err_;
  const nlohmann::json summary = nlohmann::json::parse(out_);
  EXPECT_EQ(summary.at("bytes"), data.size());
  EXPECT_EQ(summary.at("data_bytes"), 3 * kMiB / 2);
  EXPECT_EQ(summary.at("durable"), true);
  EXPECT_EQ(server_.DurableContent("copy"), data);
  EXPECT_EQ(err_, "") << "no progress bar when nobody watches";
  EXPECT_EQ(Run({"export", "copy", out}), 0) << err_;
  EXPECT_THAT(out_, StartsWith("exported DATA/copy: 2.5 MiB (2621440 bytes), "));
  EXPECT_TRUE(Slurp(out) == data);
}

TEST_F(CommandTest, ImportIntoWhatIsThere) {
  server_.AddDisk("full", 2 * kMiB);
  ASSERT_TRUE(client_->Write(Disk("full"), 0, AsBytes(std::string(2 * kMiB, 'o'))).ok());
  const std::string in = File("in", "new" + std::string(kMiB, '\0'));
  EXPECT_EQ(Run({"import", in, "full", "--no-sync"}), 0) << err_;
  EXPECT_EQ(server_.Content("full"), "new" + std::string(kMiB, '\0') + std::string(kMiB - 3, 'o'));
  EXPECT_EQ(Run({"import", in, "full", "--size", "1G"}), 8);
  EXPECT_EQ(Run({"import", in, "nix", "--no-create"}), 3);
  EXPECT_EQ(Run({"import", in, "small", "--size", "1K"}), 2);
  EXPECT_EQ(Run({"import", Path("missing"), "x"}), 1);
  EXPECT_THAT(err_, HasSubstr("(UNKNOWN, LOCAL_IO)"));
  server_.AddDisk("tiny", 10);
  EXPECT_EQ(Run({"import", in, "tiny"}), 2);
}

TEST_F(CommandTest, AnImportThatFailsSaysWhere) {
  server_.FailFramesAt(512 * kKiB, 1, {grpc::StatusCode::RESOURCE_EXHAUSTED, "no space"}, "");
  const std::string in = File("in", Pattern(2 * kMiB, 'j'));
  EXPECT_EQ(Run({"import", in, "copy"}), 5);
  EXPECT_THAT(err_, HasSubstr("import stopped, copy is incomplete: write DATA/copy, 524288 bytes "
                              "at offset 524288: no space (RESOURCE_EXHAUSTED)"));
}

TEST_F(CommandTest, Transactions) {
  server_.AddDisk("vm2", kDiskBytes);
  const std::string a = File("a", "aaaa"), b = File("b", "bbbb");
  EXPECT_EQ(Run({"txn", "--durable", "vm1:0:" + a, "DATA/vm2:1K:" + b}), 0) << err_;
  EXPECT_EQ(out_, "transaction 1 durable: 2 changes, 8 bytes\n");
  EXPECT_EQ(server_.DurableContent("vm2").substr(1024, 4), "bbbb");
  const std::string batch =
      File("batch", "write vm1 4 " + a + "\nzero vm2 1K 2\nwrite vm2 0 " + b + "\n");
  EXPECT_EQ(Run({"txn", "--batch", batch, "-o", "json"}), 0) << err_;
  EXPECT_EQ(nlohmann::json::parse(out_).at("changes"), 3);
  EXPECT_EQ(server_.Content("vm1").substr(0, 9), std::string("aaaaaaaa\0", 9));
  EXPECT_EQ(server_.Content("vm2").substr(1024, 4), std::string("\0\0bb", 4));

  const int begun = server_.calls("BeginTransaction");
  EXPECT_EQ(Run({"txn"}), 2);
  EXPECT_EQ(Run({"txn", "vm1:0:" + Path("missing")}), 1);
  EXPECT_EQ(Run({"txn", "vm1:0:-", "vm2:0:-"}), 2);
  EXPECT_EQ(server_.calls("BeginTransaction"), begun);
  server_.FailNext("Write", 1, {grpc::StatusCode::ABORTED, "conflict"});
  EXPECT_EQ(Run({"txn", "vm1:0:" + a}), 9);
  EXPECT_EQ(server_.calls("AbortTransaction"), 1);
}

TEST_F(CommandTest, ATransactionThatGrowsADiskWritesBehindItsOldEnd) {
  const std::string a = File("a", "aaaa");
  EXPECT_EQ(Run({"txn", absl::StrCat("vm1:", kDiskBytes, ":", a)}), 2) << "not without growth";
  EXPECT_EQ(Run({"txn", absl::StrCat("vm1:resize:", kDiskBytes + 4),
                 absl::StrCat("vm1:", kDiskBytes, ":", a)}),
            0)
      << err_;
  EXPECT_EQ(out_, "transaction 2 applied: 2 changes, 4 bytes\n");
  EXPECT_EQ(server_.Content("vm1").substr(kDiskBytes), "aaaa");
  EXPECT_EQ(Run({"txn", "--batch", File("batch", "resize vm1 1K\n"), "-o", "json"}), 0) << err_;
  EXPECT_EQ(nlohmann::json::parse(out_).at("bytes"), 0);
  EXPECT_EQ(server_.Content("vm1").size(), 1024u);
  EXPECT_EQ(Run({"txn", "--help"}), 0);
  EXPECT_THAT(out_, HasSubstr("DISK:resize:SIZE"));
}

TEST_F(CommandTest, Volume) {
  EXPECT_EQ(Run({"volume", "status"}), 0) << err_;
  EXPECT_THAT(out_, HasSubstr("state:         FAILED: a barrier failed\n"));
  EXPECT_EQ(Run({"volume", "status", "-o", "json"}), 0);
  EXPECT_EQ(nlohmann::json::parse(out_).at("failure").at("code"), "UNAVAILABLE");
  EXPECT_EQ(Run({"volume", "flushes"}), 0) << err_;
  EXPECT_THAT(out_, HasSubstr("CYCLE"));
  EXPECT_THAT(out_, HasSubstr("age"));
  EXPECT_THAT(out_, HasSubstr("0.001"));
  EXPECT_THAT(out_, HasSubstr("slot 0, mirror_tid 17"));
  EXPECT_EQ(Run({"volume", "flushes", "--last", "1", "-o", "json"}), 0);
  EXPECT_EQ(nlohmann::json::parse(out_).at("cycles").size(), 1u);
  EXPECT_EQ(nlohmann::json::parse(out_).at("cycles").at(0).at("failure").at("code"), "DATA_LOSS");
  EXPECT_EQ(Run({"pfs", "ls", "--output", "json"}), 0);
  EXPECT_EQ(nlohmann::json::parse(out_).at("pfs").at(1).at("label"), "LOCAL");
}

TEST_F(CommandTest, WrongCommandLines) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {},
           {"disk"},
           {"frob"},
           {"disk", "frob"},
           {"disk", "create", "x"},
           {"disk", "create", "x", "--size", "10GB"},
           {"disk", "create", "a/", "--size", "1G"},
           {"disk", "create", "x", "--size", "1G", "--nope"},
           {"write", "vm1"},
           {"read", "vm1", "--length", "-5"},
           {"disk", "ls", "-o", "xml"},
           {"disk", "ls", "--timeout", "0"},
           {"txn", "vm1"},
       }) {
    EXPECT_EQ(Run(arguments), 2) << testing::PrintToString(arguments);
    EXPECT_EQ(out_, "");
    EXPECT_THAT(err_, StartsWith("h2bd: ")) << testing::PrintToString(arguments);
    EXPECT_THAT(err_, HasSubstr("INVALID_ARGUMENT"));
  }
  Run({"frob"});
  EXPECT_THAT(err_, HasSubstr("\"frob\""));
}

TEST_F(CommandTest, HelpIsNoFault) {
  EXPECT_EQ(Run({"--help"}), 0);
  EXPECT_THAT(out_, HasSubstr("Exit codes:\n  0  done"));
  EXPECT_EQ(Run({"disk", "create", "--help"}), 0);
  EXPECT_THAT(out_, HasSubstr("--size"));
  EXPECT_EQ(Run({"--version"}), 0);
  EXPECT_THAT(out_, StartsWith("h2bd "));
}

}  // namespace
}  // namespace h2bd::cli
