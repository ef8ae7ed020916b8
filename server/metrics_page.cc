#include "server/metrics_page.h"

#include <civetweb.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "server/metrics_text.h"
#include "server/status_map.h"

namespace h2bd {
namespace {

constexpr absl::Duration kWakeInterval = absl::Milliseconds(20);
constexpr char kTextFormat[] = "text/plain; version=0.0.4; charset=utf-8";

int Respond(mg_connection* connection, int code, const char* code_text, const char* type,
            const std::string& body) {
  mg_printf(
      connection,
      "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
      code, code_text, type, body.size());
  mg_write(connection, body.data(), body.size());
  return code;
}

}  // namespace

MetricsPage::MetricsPage(std::string host, const prometheus::Collectable& source, Health health)
    : host_(std::move(host)), source_(source), health_(std::move(health)) {}

absl::StatusOr<std::unique_ptr<MetricsPage>> MetricsPage::Start(
    const Endpoint& endpoint, const prometheus::Collectable& source, Health health) {
  Endpoint numeric = endpoint;  // civetweb takes no names
  if (numeric.host == "localhost") numeric.host = "127.0.0.1";
  const std::string address = numeric.ToString();
  // One connection at a time is normal; a slow reader must not keep a thread for ever.
  const char* options[] = {"listening_ports",    address.c_str(), "num_threads", "2",
                           "request_timeout_ms", "10000",         nullptr};
  std::unique_ptr<MetricsPage> page(new MetricsPage(numeric.host, source, std::move(health)));
  mg_callbacks callbacks{};
  page->context_ = mg_start(&callbacks, page.get(), options);
  if (page->context_ == nullptr) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", address, " for metrics"));
  }
  mg_server_port port{};
  if (mg_get_server_ports(page->context_, 1, &port) == 1) page->port_ = port.port;
  mg_set_request_handler(page->context_, "/metrics$", &MetricsPage::ServeMetrics, page.get());
  mg_set_request_handler(page->context_, "/healthz$", &MetricsPage::ServeHealth, page.get());
  return page;
}

MetricsPage::~MetricsPage() {
  if (context_ == nullptr) return;
  // civetweb's listener looks only every two seconds, or when somebody connects, whether it is to
  // stop.
  absl::Notification stopped;
  std::thread stopper([this, &stopped] {
    mg_stop(context_);
    stopped.Notify();
  });
  while (!stopped.WaitForNotificationWithTimeout(kWakeInterval)) {
    char ignored[64];
    mg_connection* wake = mg_connect_client(host_.c_str(), port_, 0, ignored, sizeof ignored);
    if (wake != nullptr) mg_close_connection(wake);
  }
  stopper.join();
}

int MetricsPage::ServeMetrics(mg_connection* connection, void* page) {
  const std::string text = MetricsText(static_cast<MetricsPage*>(page)->source_.Collect());
  return Respond(connection, 200, "OK", kTextFormat, text);
}

int MetricsPage::ServeHealth(mg_connection* connection, void* page) {
  const absl::Status status = static_cast<MetricsPage*>(page)->health_();
  if (status.ok()) return Respond(connection, 200, "OK", "text/plain", "ok\n");
  return Respond(connection, 503, "Service Unavailable", "text/plain",
                 absl::StrCat(WireReason(status), ": ", WireMessage(status), "\n"));
}

}  // namespace h2bd
