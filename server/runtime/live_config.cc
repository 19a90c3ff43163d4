#include "server/runtime/live_config.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "server/runtime/redis_parameters.h"

namespace cairn::server {
namespace {

Error invalid(std::string text) { return Error{ErrorCode::kInvalidArgument, std::move(text)}; }

// Either the whole new file or the old one is there, whatever happens.
bool replace_file(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".new";
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  bool good = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(fd) == 0;
  std::error_code error;
  std::filesystem::permissions(fresh, std::filesystem::status(path, error).permissions(), error);
  good = ::close(fd) == 0 && good && std::rename(fresh.c_str(), path.c_str()) == 0;
  if (!good) ::unlink(fresh.c_str());
  return good;
}

}  // namespace

Result<std::vector<ConfigChange>> LiveConfig::install(config::NodeConfig next) {
  if (const auto valid = config::validate(next); !valid) return valid.error();
  std::vector<ConfigChange> changes;
  for (const config::KeySpec& key : config::key_specs()) {
    if (config::value_text(config_, key) != config::value_text(next, key)) {
      changes.push_back({std::string(key.name), config::shown_value(config_, key), config::shown_value(next, key)});
    }
  }
  config_ = std::move(next);
  apply_(config_);
  return changes;
}

Result<std::vector<ConfigChange>> LiveConfig::apply_config(const Changes& changes) {
  config::NodeConfig next = config_;
  for (const auto& [name, value] : changes) {
    const config::KeySpec* key = config::find_key(name);
    config::NodeConfig tried = next;
    CAIRN_TRY_VOID(config::set_key(tried, name, value, std::string(config::kRuntime)));
    if (config::value_text(tried, *key) == config::value_text(next, *key)) continue;  // its origin stays, too
    if (!key->reload) return invalid("`" + name + "` cannot change while the node runs: change the file and restart");
    next = std::move(tried);
  }
  return install(std::move(next));
}

Result<ConfigReload> LiveConfig::reload() {
  auto loaded = config::load(request_);
  if (!loaded) return loaded.error();
  ConfigReload out;
  config::NodeConfig next = config_;
  for (const config::KeySpec& key : config::key_specs()) {
    const std::string name(key.name), wanted = config::value_text(*loaded, key);
    if (wanted == config::value_text(config_, key)) {
      next.origins[name] = loaded->origins[name];
    } else if (key.reload) {
      CAIRN_TRY_VOID(config::set_key(next, name, wanted, loaded->origins[name]));
    } else {
      out.waiting.push_back(name);
    }
  }
  auto applied = install(std::move(next));
  if (!applied) return applied.error();
  out.applied = std::move(*applied);
  return out;
}

std::map<std::string, std::string> LiveConfig::list() const {
  auto all = redis_parameters(config_);
  for (const config::KeySpec& key : config::key_specs()) {
    all.emplace(key.name, config::shown_value(config_, key));
  }
  return all;
}

Result<void> LiveConfig::set(const Parameters::Changes& changes) {
  Changes ours;
  for (const auto& [name, value] : changes) {
    const auto failed = [&](const std::string& why) {
      return invalid("CONFIG SET failed (possibly related to argument '" + name + "') - " + why);
    };
    Result<Changes> translated = Changes{{name, value}};
    if (config::find_key(name) == nullptr || name == "requirepass") translated = changes_of(config_, name, value);
    if (!translated && translated.error().code == ErrorCode::kNotFound) {
      return invalid("Unknown option or number of arguments for CONFIG SET - '" + name + "'");
    }
    if (!translated) return failed(translated.error().message);
    for (auto& change : *translated) {
      config::NodeConfig tried = config_;
      const auto good = config::set_key(tried, change.first, change.second, std::string(config::kRuntime));
      if (!good) return failed(good.error().message);
      ours.push_back(std::move(change));
    }
  }
  const auto done = apply_config(ours);
  if (!done) return invalid("CONFIG SET failed - " + done.error().message);
  return {};
}

Result<void> LiveConfig::rewrite() {
  if (request_.file.empty()) return invalid("The server is running without a config file");
  const auto failed = [](const std::string& why) { return invalid("Rewriting config file: " + why); };
  std::ifstream in(request_.file);
  std::stringstream text;
  text << in.rdbuf();
  if (!in) return failed("it cannot be read");
  const std::string changed = config::rewritten(text.str(), config_);
  // Written beside it and loaded: only what reads back as meant takes the file's place.
  const std::string trial = request_.file + ".rewrite";
  if (std::ofstream out(trial); !(out << changed).flush()) return failed("its folder cannot be written");
  config::LoadRequest request = request_;
  request.file = trial;
  const auto loaded = config::load(request);
  std::error_code ignored;
  std::filesystem::remove(trial, ignored);
  if (!loaded) return failed("the result would not be valid: " + loaded.error().message);
  for (const config::KeySpec& key : config::key_specs()) {
    const auto origin = config_.origins.find(std::string(key.name));
    if (origin == config_.origins.end() || origin->second != config::kRuntime) continue;
    const std::string& from = loaded->origins.at(std::string(key.name));
    if (from.starts_with("flag ") || from.starts_with("environment ")) {
      return failed("`" + std::string(key.name) + "` comes from the " + from + ", which would win over the file");
    }
    if (config::value_text(*loaded, key) != config::value_text(config_, key)) {
      return failed("`" + std::string(key.name) +
                    "` stands there in a way that cannot be changed; write one key to a line");
    }
  }
  if (!replace_file(request_.file, changed)) return failed("it cannot be written");
  const auto fresh = config::load(request_);
  if (fresh) config_.origins = fresh->origins;
  return {};
}

}  // namespace cairn::server
