// The offline commands, from the command line to the exit code, over files.
#include "client/media/media_commands.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "core/media/placement.h"
#include "tests/fsck/image_editor.h"
#include "tests/fsck/volume_fixture.h"
#include "tests/support/fixtures.h"

namespace h2bd {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;

struct Ran {
  int exit_code = -1;
  std::string out, err;
};

Ran RunMedia(std::vector<std::string> arguments) {
  CLI::App app("h2bd");
  std::ostringstream out, err;
  std::optional<int> exit_code;
  AddMediaCommands(app, out, err, exit_code);
  arguments.insert(arguments.begin(), "media");
  std::reverse(arguments.begin(), arguments.end());
  Ran ran;
  try {
    app.parse(arguments);
    ran.exit_code = exit_code.value_or(-1);
  } catch (const CLI::ParseError& error) {
    ran.exit_code = 2;
    err << error.what();
  }
  ran.out = out.str();
  ran.err = err.str();
  return ran;
}

class MediaCommandsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "h2bd_media_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::string Path(const std::string& name) const { return absl::StrCat(dir_, "/", name); }
  std::string WriteImage(const SparseImage& image) const {
    const std::string path = Path("image");
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    EXPECT_GE(fd, 0);
    EXPECT_EQ(ftruncate(fd, static_cast<off_t>(image.size())), 0);
    for (const auto& [number, page] : image.pages()) {
      const auto at = static_cast<off_t>(number * SparseImage::kPage);
      EXPECT_EQ(pwrite(fd, page->data(), page->size(), at), static_cast<ssize_t>(page->size()));
    }
    close(fd);
    return path;
  }

  std::string dir_;
};

TEST_F(MediaCommandsTest, FormattedVolumeIsCleanAndEmpty) {
  const std::string image = Path("new.img");
  const Ran made =
      RunMedia({"format", image, "--size", "8G", "--sparse", "--label", "VMS", "-o", "json"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_EQ(std::filesystem::file_size(image), 8 * kGiB);
  EXPECT_EQ(json::parse(made.out)["allocator_size"], 0x1EA000000u);
  EXPECT_EQ(json::parse(made.out)["header_slots"], 4);

  const Ran checked = RunMedia({"check", image, "--strict"});
  EXPECT_EQ(checked.exit_code, 0) << checked.out << checked.err;
  EXPECT_THAT(checked.out, HasSubstr("clean: 0 errors"));
  EXPECT_EQ(RunMedia({"ls", image}).out, "LOCAL\nVMS\n");
  EXPECT_EQ(RunMedia({"ls", image, "VMS"}).out, "");
  EXPECT_EQ(RunMedia({"digest", image}).out.size(), 65u);
}

TEST_F(MediaCommandsTest, FormatOptionsReachTheMedia) {
  const std::string image = Path("new.img");
  const Ran made = RunMedia({"format", image, "--size", "1G", "--sparse", "-l", "A", "-l", "B",
                             "--version", "1", "--boot-size", "16M", "--aux-size", "24M", "--comp",
                             "zlib:9", "--check", "sha192"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(made.err, HasSubstr("one header slot"));
  EXPECT_EQ(RunMedia({"ls", image}).out, "A\nB\nLOCAL\n");
  const json shown = json::parse(RunMedia({"show", image, "--headers", "-o", "json"}).out);
  const json& header = shown["devices"][0]["slots"][0];
  EXPECT_EQ(header["version"], 1);
  EXPECT_EQ(header["boot"][1].get<uint64_t>() - header["boot"][0].get<uint64_t>(), 16 * kMiB);
  EXPECT_EQ(header["aux"][1].get<uint64_t>() - header["aux"][0].get<uint64_t>(), 24 * kMiB);
  EXPECT_EQ(RunMedia({"check", image, "--strict"}).exit_code, 0);
}

TEST_F(MediaCommandsTest, SeveralDevicesMakeOneVolume) {
  const std::string a = Path("a"), b = Path("b");
  ASSERT_EQ(RunMedia({"format", a, b, "--size", "3G", "--sparse"}).exit_code, 0);
  EXPECT_EQ(RunMedia({"check", b, a, "--strict"}).exit_code, 0) << RunMedia({"check", b, a}).out;
  EXPECT_EQ(RunMedia({"digest", a, b}).out, RunMedia({"digest", b, a}).out);
  const Ran alone = RunMedia({"check", a, "-o", "json"});
  EXPECT_EQ(alone.exit_code, 1);
  EXPECT_EQ(json::parse(alone.out)["findings"][0]["code"], "volume-set");
  EXPECT_EQ(RunMedia({"ls", a}).exit_code, 1);
}

TEST_F(MediaCommandsTest, FormatRefusesWhatIsThereUnlessForced) {
  const std::string image = Path("new.img");
  ASSERT_EQ(RunMedia({"format", image, "--size", "1G", "--sparse"}).exit_code, 0);
  const Ran again = RunMedia({"format", image});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.err, HasSubstr("HAMMER2"));
  EXPECT_EQ(RunMedia({"format", image, "--force"}).exit_code, 0);
  EXPECT_EQ(RunMedia({"format", image, "--size", "2G", "--sparse", "--force"}).exit_code, 1);
}

TEST_F(MediaCommandsTest, FailedFormatLeavesNoFile) {
  const std::string image = Path("new.img");
  EXPECT_EQ(RunMedia({"format", image, "--size", "1M"}).exit_code, 1);
  EXPECT_FALSE(std::filesystem::exists(image));
  EXPECT_EQ(RunMedia({"format", Path("missing")}).exit_code, 1);
}

TEST_F(MediaCommandsTest, WrongCommandLinesAreUsageErrors) {
  const std::vector<std::vector<std::string>> wrong = {
      {},
      {"frobnicate"},
      {"check"},
      {"format", "x", "--size", "many"},
      {"format", "x", "--size", "1G", "--comp", "zstd"},
      {"format", "x", "--size", "1G", "--comp", "zlib:3"},
      {"format", "x", "--size", "1G", "--check", "none"},
      {"format", "x", "--size", "1G", "--version", "3"},
      {"check", "x", "--slot", "4"},
      {"check", "x", "-o", "xml"},
      {"cat", "x"}};
  for (const auto& arguments : wrong) {
    std::string line;
    for (const std::string& argument : arguments) absl::StrAppend(&line, " ", argument);
    EXPECT_EQ(RunMedia(arguments).exit_code, 2) << line;
  }
}

// As the whole `h2bd` command embeds them: its own --version, and an --output that all commands
// share.
TEST_F(MediaCommandsTest, OptionsOfTheSurroundingAppAreHonoured) {
  const std::string image = Path("new.img");
  for (const bool in_front : {true, false}) {
    CLI::App app("h2bd");
    app.set_version_flag("--version", "h2bd 1.2.3");
    std::string output;
    app.add_option("-o,--output", output);
    std::ostringstream out, err;
    std::optional<int> exit_code;
    AddMediaCommands(app, out, err, exit_code);
    for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
      command->fallthrough();
    }
    std::vector<std::string> arguments = {"media",    "format",  image,       "--size", "1G",
                                          "--sparse", "--force", "--version", "1"};
    const std::vector<std::string> form = {"-o", "json"};
    arguments.insert(in_front ? arguments.begin() : arguments.end(), form.begin(), form.end());
    std::reverse(arguments.begin(), arguments.end());
    app.parse(arguments);
    ASSERT_EQ(exit_code, 0) << err.str();
    EXPECT_EQ(json::parse(out.str())["header_slots"], 1);
  }
}

class FixtureCommandsTest : public MediaCommandsTest {
 protected:
  void SetUp() override {
    if (!SharedDir().has_value()) {
      SkipLoudly("the offline commands over the reference's images");
      GTEST_SKIP();
    }
    MediaCommandsTest::SetUp();
  }
};

TEST_F(FixtureCommandsTest, ListsAndReadsFiles) {
  const std::string image = WriteImage(CachedFixture("f01-basic-2g"));
  EXPECT_EQ(RunMedia({"ls", image}).out, "DATA\nLOCAL\n");
  EXPECT_EQ(RunMedia({"ls", image, "DATA/data"}).out,
            "data/four-blocks\ndata/four-blocks-plus-1\ndata/half-random\ndata/random-100000\n"
            "data/records-131072\ndata/text-300000\n");
  EXPECT_THAT(RunMedia({"ls", image, "DATA/data/random-100000", "-l"}).out,
              StartsWith("-rw-r--r--    1     0     0       100000 2017-"));
  const Ran everything = RunMedia({"ls", image, "-R", "-o", "json"});
  EXPECT_EQ(json::parse(everything.out).size(), 2u + 107u);

  const Ran cat = RunMedia({"cat", image, "DATA/data/random-100000"});
  ASSERT_EQ(cat.exit_code, 0) << cat.err;
  EXPECT_EQ(cat.out.size(), 100000u);
  EXPECT_EQ(Sha256Hex(AsBytes(cat.out)),
            "5d586a3a5ef326a8c253d228c5723502e66ad795e8099b506da2feee5913998a");
  EXPECT_EQ(RunMedia({"cat", image, "DATA/data"}).exit_code, 1);
  EXPECT_EQ(RunMedia({"cat", image, "DATA/nothing"}).exit_code, 1);
  EXPECT_EQ(RunMedia({"ls", image, "NOPFS"}).exit_code, 1);
}

TEST_F(FixtureCommandsTest, CatFillsHoles) {
  const std::string image = WriteImage(CachedFixture("f06-indirect"));
  const Ran cat = RunMedia({"cat", image, "DATA/thirds"});
  EXPECT_EQ(Sha256Hex(AsBytes(cat.out)),
            "0dceef5600f5ec70ffd18d7ecfd72a3fe2208a71481e83eb56351cf008f13fa6");
}

TEST_F(FixtureCommandsTest, CheckTellsFindingsInBothForms) {
  const std::string image = WriteImage(CachedFixture("f10-destroyed"));
  const Ran text = RunMedia({"check", image});
  EXPECT_EQ(text.exit_code, 1);
  EXPECT_THAT(text.out, HasSubstr("warning inode-orphan [slot 0] DATA: inode 1050"));
  const json report = json::parse(RunMedia({"check", image, "--output", "json"}).out);
  EXPECT_EQ(report["clean"], false);
  EXPECT_EQ(report["errors"], 0);
  EXPECT_EQ(report["warnings"], 6);
  EXPECT_EQ(report["slots"][0]["dirents"], 32);
}

TEST_F(FixtureCommandsTest, SlotChoosesTheGeneration) {
  const std::string image = WriteImage(CachedFixture("f02-default-8g-slot3"));
  EXPECT_NE(RunMedia({"digest", image, "--slot", "1"}).out, RunMedia({"digest", image}).out);
  EXPECT_EQ(RunMedia({"digest", image, "--slot", "3"}).out, RunMedia({"digest", image}).out);
  EXPECT_EQ(RunMedia({"check", image}).exit_code, 0);
  EXPECT_EQ(RunMedia({"check", image, "--slot", "1"}).exit_code, 0);
}

TEST_F(FixtureCommandsTest, ShowPrintsHeadersTreeAndFreemap) {
  const std::string image = WriteImage(CachedFixture("f01-basic-2g"));
  const Ran shown = RunMedia({"show", image});
  EXPECT_EQ(shown.exit_code, 0);
  EXPECT_THAT(shown.out, HasSubstr("header slot 0: valid, the newest"));
  EXPECT_THAT(shown.out, HasSubstr("\"SUPROOT\""));
  EXPECT_THAT(shown.out, HasSubstr("freemap_leaf 0x0/30"));
  EXPECT_THAT(shown.out, HasSubstr("segment 0x0 x34: linear 0x400000"));
  const json tree = json::parse(RunMedia({"show", image, "--tree", "-o", "json"}).out)["tree"];
  size_t dirents = 0;
  for (const json& entry : tree) dirents += entry["type"] == "dirent";
  EXPECT_EQ(dirents, 107u);
}

TEST_F(FixtureCommandsTest, ShowGoesOnWhereTheVolumeIsBroken) {
  ImageEditor editor(CachedFixture("f01-basic-2g"));
  const int index = editor.Find(BrefType::kIndirect);
  const std::vector<std::byte> rubbish(64, std::byte{0xee});
  editor.Smash(editor.nodes()[static_cast<size_t>(index)].bref.data_off.offset().v, rubbish);
  editor.Smash(0x9000, rubbish);  // the only header's CRC
  const std::string image = WriteImage(editor.image());
  EXPECT_EQ(RunMedia({"ls", image}).exit_code, 1);
  EXPECT_EQ(RunMedia({"check", image}).exit_code, 1);
  const Ran shown = RunMedia({"show", image});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("icrc_volheader"));
  EXPECT_THAT(shown.out, HasSubstr("DAMAGED: wrong xxhash64"));
  EXPECT_THAT(shown.out, HasSubstr("freemap_leaf"));

  const Ran empty = RunMedia({"show", WriteImage(SparseImage(64 * kMiB))});
  EXPECT_EQ(empty.exit_code, 0);
  EXPECT_THAT(empty.err, HasSubstr("no trees"));
}

// A dry run says what it would do and exits with 1; --write does it; then there is nothing left.
TEST_F(FixtureCommandsTest, RepairIsADryRunUnlessItIsToWrite) {
  ImageEditor editor(CachedFixture("f01-basic-2g"));
  editor.EditHeader([](VolumeData& h) { h.allocator_size += kSegBytes; });
  const std::string image = WriteImage(editor.image());
  const std::string digest = RunMedia({"digest", image}).out;
  const Ran dry = RunMedia({"check", image, "--repair"});
  EXPECT_EQ(dry.exit_code, 1) << dry.err;
  EXPECT_THAT(dry.out, HasSubstr("counters: volume header: allocator_size"));
  EXPECT_THAT(dry.out, HasSubstr("nothing is written without --write"));
  EXPECT_EQ(RunMedia({"check", image, "--repair"}).out, dry.out);

  const Ran done = RunMedia({"check", image, "--repair", "--write", "-o", "json"});
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(json::parse(done.out)["written"], true);
  EXPECT_EQ(json::parse(done.out)["after"]["clean"], true);
  const Ran again = RunMedia({"check", image, "--repair"});
  EXPECT_EQ(again.exit_code, 0) << again.out;
  EXPECT_THAT(again.out, HasSubstr("nothing to repair"));
  EXPECT_EQ(RunMedia({"digest", image}).out, digest);
  for (const std::vector<std::string>& wrong : {std::vector<std::string>{"check", image, "--write"},
                                                {"check", image, "--keep-leaks"},
                                                {"check", image, "--repair", "--slot", "0"},
                                                {"check", image, "--header", "-4"},
                                                {"check", image, "--header", "-1", "--slot", "1"},
                                                {"rewind", image}}) {
    EXPECT_EQ(RunMedia(wrong).exit_code, 2);
  }
}

TEST_F(FixtureCommandsTest, OlderHeadersAreReadAndGoneBackTo) {
  const std::string image = WriteImage(CachedFixture("f02-default-8g-slot3"));
  const std::string newest = RunMedia({"digest", image}).out;
  const std::string older = RunMedia({"digest", image, "--header", "-1"}).out;
  EXPECT_EQ(older.size(), newest.size()) << older;
  EXPECT_EQ(RunMedia({"check", image, "--header", "-1"}).exit_code,
            RunMedia({"check", image, "--slot", "2"}).exit_code);
  const Ran dry = RunMedia({"rewind", image, "--header", "-1"});
  EXPECT_EQ(dry.exit_code, 0) << dry.err;
  EXPECT_THAT(dry.out, HasSubstr("nothing is written without --write"));
  EXPECT_EQ(RunMedia({"digest", image}).out, newest);
  EXPECT_EQ(RunMedia({"rewind", image, "--header", "-1", "--write"}).exit_code, 0);
  EXPECT_EQ(RunMedia({"digest", image}).out, older);
  EXPECT_EQ(RunMedia({"rewind", image, "--header", "-3"}).exit_code, 1);
}

TEST_F(MediaCommandsTest, GrowsAVolumeAndItsFile) {
  const std::string image = Path("new.img");
  ASSERT_EQ(RunMedia({"format", image, "--size", "256M", "--sparse", "--version", "1"}).exit_code,
            0);
  const Ran grown = RunMedia({"grow", image, "--size", "512M", "-o", "json"});
  ASSERT_EQ(grown.exit_code, 0) << grown.err;
  EXPECT_EQ(json::parse(grown.out)["old_size"], 256 * kMiB);
  EXPECT_EQ(json::parse(grown.out)["new_size"], 512 * kMiB);
  EXPECT_EQ(std::filesystem::file_size(image), 512 * kMiB);
  EXPECT_EQ(RunMedia({"check", image, "--strict"}).exit_code, 0);
  EXPECT_EQ(RunMedia({"grow", image, "--size", "256M"}).exit_code, 1);
}

}  // namespace
}  // namespace h2bd
