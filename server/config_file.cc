#include "server/config_file.h"

#include <fstream>
#include <optional>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

#include "server/config_identities.h"
#include "server/config_keys.h"
#include "server/config_pools.h"
#include "server/config_table.h"
#include "server/toml_document.h"

namespace pglessor {
namespace {

constexpr size_t kMostFileBytes = 1 << 20;

// Its text, or why there is none.
absl::StatusOr<std::string> Contents(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  std::string text(kMostFileBytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!stream.is_open() || stream.bad()) {
    return absl::NotFoundError("expected a file that can be read");
  }
  text.resize(static_cast<size_t>(stream.gcount()));
  if (text.size() > kMostFileBytes) {
    return absl::InvalidArgumentError(absl::StrCat("expected at most ", kMostFileBytes, " bytes"));
  }
  return text;
}

void ReadLogging(ConfigTable& root, Config& config) {
  root.Choice("log_level", kLogLevels, config.log_level);
  const Named<std::optional<ops::LogFormat>> formats[] = {
      {"text", ops::LogFormat::kText}, {"json", ops::LogFormat::kJson}, {"auto", ParseLogFormat("auto")}};
  std::optional<ops::LogFormat> format = config.log_format;
  root.Choice("log_format", formats, format);
  config.log_format = *format;
}

void ReadTls(ConfigTable& root, Config& config) {
  std::optional<ConfigTable> tls = root.Table("tls");
  if (!tls) return;
  tls->Path("cert", config.tls.cert);
  tls->Path("key", config.tls.key);
  tls->Path("client_ca", config.tls.client_ca);
  tls->Finish();
}

void ReadRoot(ConfigTable& root, Config& config) {
  root.Texts("listen", config.listen);
  root.Text("advertise", config.advertise);
  root.Text("gateway", config.gateway);
  root.Text("gateway_advertise", config.gateway_advertise);
  root.Text("http", config.http);
  root.Flag("insecure", config.insecure);
  root.Flag("reflection", config.reflection);
  root.Flag("enable_fault_injection", config.fault_injection);
  root.Time("drain_timeout", {core::Duration::zero(), kYear}, config.drain_timeout);
  root.Time("ended_retention", {core::Duration::zero(), kYear}, config.ended_retention);
  ReadLogging(root, config);
  ReadTls(root, config);
  ReadPools(root, config);
  ReadIdentities(root, config);
  root.Finish();
}

}  // namespace

bool FileReading::Says(absl::string_view key) const { return lines.count(key) > 0; }

std::string FileReading::Where(absl::string_view key) const {
  return absl::StrCat(file, ":", lines.find(key)->second, ": ", key);
}

FileReading ReadConfigFile(const std::string& path, Config& config) {
  FileReading reading{.file = path, .faults = {}, .lines = {}};
  const absl::StatusOr<std::string> text = Contents(path);
  if (!text.ok()) {
    reading.faults.push_back(absl::StrCat("--config: ", text.status().message(), ", got ", Quoted(path)));
    return reading;
  }
  const absl::StatusOr<TomlValue> root = ParseToml(*text);
  if (!root.ok()) {
    reading.faults.push_back(absl::StrCat(path, ":", root.status().message()));
    return reading;
  }
  for (const auto& [key, value] : std::get<TomlTable>(root->value)) reading.lines.emplace(key, value.line);
  FileFaults faults(path);
  ConfigTable table(*root, "", faults);
  ReadRoot(table, config);
  reading.faults = faults.Lines();
  return reading;
}

}  // namespace pglessor
