#include "server/http/metrics_text.h"

#include <fmt/format.h>

namespace cairn::server {
namespace {

// Whole numbers as such, others by the shortest text that reads back as the same number.
void sample(std::string& text, std::string_view name, std::string_view labels, double value) {
  text += name;
  if (!labels.empty()) text += fmt::format("{{{}}}", labels);
  const auto whole = static_cast<int64_t>(value);
  text += value == static_cast<double>(whole) ? fmt::format(" {}\n", whole) : fmt::format(" {}\n", value);
}

}  // namespace

void MetricsText::counter(std::string_view name, std::string_view help, double value, std::string_view labels) {
  sample(family(name, help, "counter"), name, labels, value);
}

void MetricsText::gauge(std::string_view name, std::string_view help, double value, std::string_view labels) {
  sample(family(name, help, "gauge"), name, labels, value);
}

void MetricsText::histogram(std::string_view name, std::string_view help, const HistogramView& h,
                            std::string_view labels) {
  std::string& text = family(name, help, "histogram");
  const std::string bucket = fmt::format("{}_bucket", name);
  const std::string first = labels.empty() ? "" : fmt::format("{},", labels);
  uint64_t total = 0;
  for (size_t i = 0; i < HistogramView::kBuckets; ++i) {
    total += h.counts[i];
    const bool last = i + 1 == HistogramView::kBuckets;
    const std::string bound = last ? "+Inf" : fmt::format("{}", DurationHistogram::upper_bound_s(i));
    sample(text, bucket, fmt::format("{}le=\"{}\"", first, bound), static_cast<double>(total));
  }
  sample(text, fmt::format("{}_sum", name), labels, static_cast<double>(h.sum_ns) * 1e-9);
  sample(text, fmt::format("{}_count", name), labels, static_cast<double>(total));
}

void MetricsText::histogram(std::string_view name, std::string_view help, const CountHistogram& h) {
  std::string& text = family(name, help, "histogram");
  uint64_t total = 0;
  for (size_t i = 0; i < CountHistogram::kBuckets; ++i) {
    total += h.count(i);
    const std::string bound = i > CountHistogram::kLargest ? "+Inf" : fmt::format("{}.0", i);
    sample(text, fmt::format("{}_bucket", name), fmt::format("le=\"{}\"", bound), number(total));
  }
  sample(text, fmt::format("{}_sum", name), "", number(h.sum()));
  sample(text, fmt::format("{}_count", name), "", number(total));
}

std::string MetricsText::take() const {
  std::string page;
  for (const std::string& text : families_) page += text;
  if (open_) page += "# EOF\n";
  return page;
}

std::string& MetricsText::family(std::string_view name, std::string_view help, std::string_view type) {
  const auto [known, fresh] = places_.try_emplace(std::string(name), families_.size());
  if (fresh) {
    // OpenMetrics names the family of a counter without the suffix of its sample.
    constexpr std::string_view kTotal = "_total";
    if (open_ && name.ends_with(kTotal)) name.remove_suffix(kTotal.size());
    families_.push_back(fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, help, name, type));
  }
  return families_[known->second];
}

}  // namespace cairn::server
