// The HTTP page of an operator: /metrics for Prometheus, /healthz for whoever restarts or routes.
#pragma once

#include <prometheus/collectable.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/units.h"

struct mg_context;
struct mg_connection;

namespace h2bd {

// Listens from Start until it is destroyed, on two threads of its own. (prometheus-cpp's Exposer
// does the same, but has no room for a health page.)
class MetricsPage {
 public:
  // OK: /healthz says 200 "ok"; otherwise 503 and the message. Called from any thread; must not
  // wait.
  using Health = std::function<absl::Status()>;

  // kUnavailable when the address cannot be listened on. `source` outlives the page.
  static absl::StatusOr<std::unique_ptr<MetricsPage>> Start(const Endpoint& endpoint,
                                                            const prometheus::Collectable& source,
                                                            Health health);
  ~MetricsPage();
  MetricsPage(const MetricsPage&) = delete;
  MetricsPage& operator=(const MetricsPage&) = delete;

  int port() const { return port_; }

 private:
  MetricsPage(std::string host, const prometheus::Collectable& source, Health health);
  static int ServeMetrics(mg_connection* connection, void* page);
  static int ServeHealth(mg_connection* connection, void* page);

  const std::string host_;
  const prometheus::Collectable& source_;
  const Health health_;
  mg_context* context_ = nullptr;
  int port_ = 0;
};

}  // namespace h2bd
