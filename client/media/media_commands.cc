#include "client/media/media_commands.h"

#include <filesystem>
#include <functional>
#include <memory>
#include <ostream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/media/actions.h"

namespace h2bd {
namespace {

constexpr int kExitOk = 0, kExitFailed = 1;

// "lz4", "zlib", "zlib:9", "none", "autozero".
void ParseComp(const std::string& text, FormatOptions& options) {
  const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  bool known = false;
  for (const CompMethod method :
       {CompMethod::kNone, CompMethod::kAutozero, CompMethod::kLz4, CompMethod::kZlib}) {
    if (parts[0] != Name(method)) continue;
    options.comp = method;
    known = true;
  }
  const bool level_ok = parts.size() == 1 || (options.comp == CompMethod::kZlib &&
                                              absl::SimpleAtoi(parts[1], &options.comp_level) &&
                                              options.comp_level >= 6 && options.comp_level <= 9);
  if (!known || !level_ok) {
    throw CLI::ValidationError(
        "--comp", "\"" + text + "\"; legal: lz4, zlib, zlib:6 to zlib:9, none, autozero");
  }
}

void ParseCheck(const std::string& text, FormatOptions& options) {
  for (const CheckMethod method :
       {CheckMethod::kIscsi32, CheckMethod::kXxhash64, CheckMethod::kSha192}) {
    if (text != Name(method)) continue;
    options.check = method;
    return;
  }
  throw CLI::ValidationError("--check", "\"" + text + "\"; legal: xxhash64, iscsi32, sha192");
}

// The commands and where their results go. Shared by the callbacks that CLI11 keeps.
class MediaCommands : public std::enable_shared_from_this<MediaCommands> {
 public:
  MediaCommands(CLI::App& app, std::ostream& out, std::ostream& err, std::optional<int>& exit_code)
      : out_(out),
        err_(err),
        exit_code_(exit_code),
        shared_output_(app.get_option_no_throw("--output")) {}

  void Register(CLI::App& app) {
    CLI::App* media =
        app.add_subcommand("media", "Volumes that no server has open: images and disks");
    media->require_subcommand(1);
    if (shared_output_ == nullptr) {
      media->add_option("-o,--output", own_output_, "Form of the output")
          ->check(CLI::IsMember({"table", "json"}));
    }
    AddFormat(*media);
    AddCheck(*media);
    AddShow(*media);
    AddList(*media);
    AddCat(*media);
    AddDigest(*media);
    AddRewind(*media);
    AddGrow(*media);
    for (CLI::App* command : media->get_subcommands([](CLI::App*) { return true; })) {
      command->fallthrough();
    }
  }

 private:
  using Action = std::function<absl::Status(const MediaIo&)>;

  void OnCommand(CLI::App* command, Action action) {
    command->callback([self = shared_from_this(), action = std::move(action)] {
      const absl::Status status = action(self->Io());
      if (!status.ok()) self->err_ << "h2bd: " << status.message() << '\n';
      // A failure that another command line would have avoided is one all the same: it parsed.
      if (!self->exit_code_.has_value()) self->exit_code_ = status.ok() ? kExitOk : kExitFailed;
    });
  }

  MediaIo Io() const {
    std::string form = own_output_;
    if (shared_output_ != nullptr && shared_output_->count() > 0) {
      form = shared_output_->results().back();
    }
    return {out_, err_, form == "json" ? OutputForm::kJson : OutputForm::kTable};
  }

  static void AddImages(CLI::App* command, MediaTarget& target) {
    command->add_option("image", target.images, "Devices or images of one volume, in any order")
        ->type_name("IMAGE")
        ->required();
    AddSlot(command, target);
  }
  static void AddSlot(CLI::App* command, MediaTarget& target) {
    CLI::Option* slot =
        command->add_option("--slot", target.slot, "Look through the volume header in this slot")
            ->check(CLI::Range(0, kVolumeHeaderSlots - 1));
    AddHeader(command, target)->excludes(slot);
  }
  static CLI::Option* AddHeader(CLI::App* command, MediaTarget& target) {
    return command
        ->add_option_function<int>(
            "--header", [&target](const int& header) { target.header_back = -header; },
            "… or through an older one: -1 for the one before the newest")
        ->check(CLI::Range(1 - kVolumeHeaderSlots, 0));
  }

  void AddFormat(CLI::App& media) {
    CLI::App* command = media.add_subcommand("format", "Make a new volume of one or more devices");
    FormatOptions& options = format_.options;
    command->add_option("path", format_.paths, "Disks or image files, in the order of the volume")
        ->type_name("PATH")
        ->required();
    command->add_option("--size", format_.size, "Create image files of this size, e.g. 8G")
        ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
        ->type_name("SIZE");
    command->add_flag_callback(
        "--sparse", [this] { format_.space = ImageSpace::kSparse; },
        "Leave the space of these files to the host file system until it is written");
    command
        ->add_option("-l,--label", labels_, "PFS to make besides LOCAL [DATA]; none for no other")
        ->type_name("LABEL")
        ->take_all();
    command->add_option("--version", options.version, "Volume version")
        ->check(CLI::IsMember({1, 2}))
        ->capture_default_str();
    command->add_option("--boot-size", options.boot_bytes, "Boot area, a multiple of 8M")
        ->transform(CLI::AsSizeValue(false))
        ->type_name("SIZE");
    command->add_option("--aux-size", options.aux_bytes, "Auxiliary area, a multiple of 8M")
        ->transform(CLI::AsSizeValue(false))
        ->type_name("SIZE");
    command
        ->add_option_function<std::string>(
            "--comp", [this](const std::string& text) { ParseComp(text, format_.options); },
            "Compression: lz4, zlib[:LEVEL], none, autozero [lz4]")
        ->type_name("METHOD");
    command
        ->add_option_function<std::string>(
            "--check", [this](const std::string& text) { ParseCheck(text, format_.options); },
            "Check codes: xxhash64, iscsi32, sha192 [xxhash64]")
        ->type_name("METHOD");
    command->add_flag("--force", options.force, "Format although there is something already");
    OnCommand(command, [this](const MediaIo& io) {
      if (labels_ == std::vector<std::string>{"none"}) {
        format_.options.labels.clear();
      } else if (!labels_.empty()) {
        format_.options.labels = labels_;
      }
      return RunFormat(format_, io);
    });
  }

  void AddCheck(CLI::App& media) {
    CLI::App* command = media.add_subcommand("check", "Verify everything; exit 1 when not clean");
    AddImages(command, check_.target);
    command->add_flag("--strict", check_.strict,
                      "Only h2bd has written the volume: older headers must be clean too");
    command->add_flag("--metadata-only", check_.metadata_only, "Do not read file data");
    CLI::Option* repair = command->add_flag(
        "--repair", check_.repair,
        "Tell what can be put right without losing data; exit 1 when there is anything to do");
    repair->excludes("--slot")->excludes("--header")->excludes("--strict");
    command->add_flag("--write", check_.write, "Do it")->needs(repair);
    command
        ->add_flag("--keep-leaks", check_.keep_leaks,
                   "Free nothing; needed where damage hides what is in use")
        ->needs(repair);
    command
        ->add_flag("--drop-dangling", check_.drop_dangling,
                   "Remove directory entries whose inode does not exist")
        ->needs(repair);
    OnCommand(command, [this](const MediaIo& io) {
      const absl::StatusOr<bool> clean = RunCheck(check_, io);
      if (clean.ok() && !*clean) exit_code_ = kExitFailed;
      return clean.status();
    });
  }

  void AddShow(CLI::App& media) {
    CLI::App* command = media.add_subcommand("show", "Print what is on the media, broken or not");
    AddImages(command, show_.target);
    command->add_flag("--headers", show_.headers, "Only what is chosen of these: volume headers");
    command->add_flag("--tree", show_.tree, "… the tree of blockrefs");
    command->add_flag("--freemap", show_.freemap, "… the freemap");
    OnCommand(command, [this](const MediaIo& io) { return RunShow(show_, io); });
  }

  void AddList(CLI::App& media) {
    CLI::App* command = media.add_subcommand("ls", "List PFSs, or files of one");
    command->add_option("arguments", arguments_, "Devices of one volume, then PFS or PFS/path")
        ->type_name("IMAGE... [PFS[/PATH]]")
        ->required();
    AddSlot(command, list_.target);
    command->add_flag("-l", list_.details, "Modes, owners, sizes and times");
    command->add_flag("-R", list_.recursive, "All directories below");
    OnCommand(command, [this](const MediaIo& io) {
      // What is no file must be a path on the volume.
      std::error_code ignored;
      if (arguments_.size() > 1 && !std::filesystem::exists(arguments_.back(), ignored)) {
        list_.path = arguments_.back();
        arguments_.pop_back();
      }
      list_.target.images = arguments_;
      return RunList(list_, io);
    });
  }

  void AddCat(CLI::App& media) {
    CLI::App* command = media.add_subcommand("cat", "Write a file's contents to standard output");
    command->add_option("arguments", arguments_, "Devices of one volume, then PFS/path")
        ->type_name("IMAGE... PFS/PATH")
        ->required()
        ->expected(2, 1 + kMaxVolumes);
    AddSlot(command, target_);
    OnCommand(command, [this](const MediaIo& io) {
      const std::string path = arguments_.back();
      arguments_.pop_back();
      target_.images = arguments_;
      return RunCat(target_, path, io);
    });
  }

  void AddDigest(CLI::App& media) {
    CLI::App* command =
        media.add_subcommand("digest", "Print one value for all names, types, sizes and contents");
    AddImages(command, target_);
    OnCommand(command, [this](const MediaIo& io) { return RunDigest(target_, io); });
  }

  void AddGrow(CLI::App& media) {
    CLI::App* command = media.add_subcommand(
        "grow", "Make a volume of one device as large as the device, or as a file is to be");
    command->add_option("image", grow_.path, "The device or image")->type_name("IMAGE")->required();
    command->add_option("--size", grow_.size, "… or so large; a file is made so large first")
        ->transform(CLI::AsSizeValue(/*kb_is_1000=*/false))
        ->type_name("SIZE");
    OnCommand(command, [this](const MediaIo& io) { return RunGrow(grow_, io); });
  }

  void AddRewind(CLI::App& media) {
    CLI::App* command = media.add_subcommand(
        "rewind", "Go back to an older header; what only newer ones have is lost");
    command
        ->add_option("image", rewind_.target.images,
                     "Devices or images of one volume, in any order")
        ->type_name("IMAGE")
        ->required();
    AddHeader(command, rewind_.target)->required();
    command->add_flag("--write", rewind_.write, "Do it; else only tell what would be done");
    OnCommand(command, [this](const MediaIo& io) { return RunRewind(rewind_, io); });
  }

  std::ostream& out_;
  std::ostream& err_;
  std::optional<int>& exit_code_;
  CLI::Option* const shared_output_;
  std::string own_output_ = "table";

  FormatCommand format_;
  std::vector<std::string> labels_;
  CheckCommand check_;
  GrowCommand grow_;
  RewindCommand rewind_;
  ShowCommand show_;
  ListCommand list_;
  MediaTarget target_;
  std::vector<std::string> arguments_;
};

}  // namespace

void AddMediaCommands(CLI::App& app, std::ostream& out, std::ostream& err,
                      std::optional<int>& exit_code) {
  std::make_shared<MediaCommands>(app, out, err, exit_code)->Register(app);
}

}  // namespace h2bd
