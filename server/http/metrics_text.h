// Metrics as text: Prometheus' format 0.0.4 or OpenMetrics 1.0.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"

namespace cairn::server {

enum class MetricsFormat : uint8_t { kPrometheus, kOpenMetrics };
inline constexpr std::string_view kPrometheusType = "text/plain; version=0.0.4; charset=utf-8";
inline constexpr std::string_view kOpenMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8";

// The formats want all samples of a family together, behind its one HELP and TYPE; callers may come in any order.
// `labels`: name="value", separated by commas, without braces.
inline double number(uint64_t value) { return static_cast<double>(value); }

class MetricsText {
 public:
  explicit MetricsText(MetricsFormat format) : open_(format == MetricsFormat::kOpenMetrics) {}
  void counter(std::string_view name, std::string_view help, double value, std::string_view labels = "");
  void counter(std::string_view name, std::string_view help, const Counter& value, std::string_view labels = "") {
    counter(name, help, static_cast<double>(value.get()), labels);
  }
  void gauge(std::string_view name, std::string_view help, double value, std::string_view labels = "");
  void histogram(std::string_view name, std::string_view help, const HistogramView& h, std::string_view labels = "");
  void histogram(std::string_view name, std::string_view help, const CountHistogram& h);
  std::string take() const;

 private:
  std::string& family(std::string_view name, std::string_view help, std::string_view type);

  const bool open_;
  std::vector<std::string> families_;     // in the order of their first sample
  std::map<std::string, size_t> places_;  // by name
};

}  // namespace cairn::server
