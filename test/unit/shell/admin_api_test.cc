// The admin API's parts without sockets: negotiation, schemas, hosts and tokens, escapes.
#include <catch2/catch.hpp>

#include "server/http/http_guard.h"
#include "server/http/json_schema.h"
#include "server/http/router.h"

using namespace cairn;
using namespace cairn::server;
using nlohmann::json;

TEST_CASE("Accept chooses among what is offered") {
  const std::vector<std::string_view> offered = {"text/plain; version=0.0.4", "application/openmetrics-text"};
  const auto choose = [&](const char* accept) {
    const std::string text = accept;
    return preferred_type(&text, offered);
  };
  CHECK(preferred_type(nullptr, offered) == 0u);
  CHECK(choose("") == 0u);
  CHECK(choose("*/*") == 0u);
  CHECK(choose("application/*") == 1u);
  CHECK(choose("Application/OpenMetrics-Text; version=1.0.0;q=0.75,text/plain;q=0.5,*/*;q=0.1") == 1u);
  CHECK(choose("application/openmetrics-text;q=0.2, text/plain;q=0.9") == 0u);
  CHECK(choose("text/plain;q=0, */*") == 1u);
  CHECK_FALSE(choose("image/png"));
  CHECK_FALSE(choose("text/plain;q=0"));
  CHECK_FALSE(choose(",;,"));
}

TEST_CASE("percent-encoding") {
  std::string out;
  CHECK(percent_decode("a%20b+c%00%ff", true, out));
  CHECK(out == std::string("a b c\0\xff", 7));
  out.clear();
  CHECK(percent_decode("a+b", false, out));
  CHECK(out == "a+b");
  for (const char* bad : {"%", "%2", "%zz", "a%0"}) CHECK_FALSE(percent_decode(bad, true, out));
  CHECK(percent_encode("a b/\r\n~") == "a%20b%2F%0D%0A~");
}

TEST_CASE("hosts") {
  CHECK(host_of("Example.COM:80") == "example.com");
  CHECK(host_of("[::1]:80") == "::1");
  CHECK(host_of("[::1") == "");
  CHECK(host_of("a:b") == "");
  const HttpGuard guard({"", {"db1.example"}});
  const auto status = [&](const char* method, std::vector<std::pair<std::string, std::string>> headers) {
    const auto refused = guard.refuse({method, "/", std::move(headers), ""}, false);
    return refused ? refused->status : 200;
  };
  CHECK(status("GET", {{"host", "127.0.0.1:1"}}) == 200);
  CHECK(status("GET", {{"host", "DB1.example"}}) == 200);
  CHECK(status("GET", {{"host", "evil.example"}}) == 421);
  CHECK(status("GET", {}) == 200);  // HTTP/1.0; a browser never sends that
  CHECK(status("POST", {{"host", "localhost"}, {"origin", "http://localhost"}}) == 200);
  CHECK(status("POST", {{"host", "localhost"}, {"origin", "http://localhost:80"}}) == 403);
  CHECK(status("POST", {{"origin", "http://localhost"}}) == 403);
}

TEST_CASE("tokens") {
  CHECK(equal_in_constant_time("secret", "secret"));
  for (const char* wrong : {"", "secre", "secrets", "secretsecret", "Secret"})
    CHECK_FALSE(equal_in_constant_time(wrong, "secret"));
  CHECK_FALSE(equal_in_constant_time("", ""));
  const HttpGuard guard({"secret", {}});
  const AdminRequest bare{"GET", "/", {}, ""};
  CHECK_FALSE(guard.refuse(bare, true));
  CHECK(guard.refuse(bare, false)->status == 401);
  CHECK_FALSE(guard.refuse({"GET", "/", {{"authorization", "BEARER secret"}}, ""}, false));
  CHECK(guard.metrics().wrong_token.get() == 1);
}

TEST_CASE("schemas: what is wrong is named by its path") {
  const json schema =
      json::parse(R"({"type": "object", "required": ["a"], "additionalProperties": false, "properties": {
    "a": {"type": "array", "items": {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 9}}}},
    "b": {"type": ["string", "null"], "enum": ["x", null]}, "c": {"oneOf": [{"type": "integer"}, {"type": "string", "maxLength": 2}]}}})");
  const auto wrong = [&](const char* text) {
    const auto error = check_schema(schema, json::parse(text));
    return error ? error->path : "fits";
  };
  CHECK(wrong(R"({"a": []})") == "fits");
  CHECK(wrong(R"({"a": [{"n": 1}, {"n": 9}], "b": null, "c": "ab"})") == "fits");
  CHECK(wrong(R"([])") == "");
  CHECK(wrong(R"({})") == "a");
  CHECK(wrong(R"({"a": [{"n": 1}, {"n": 10}]})") == "a.1.n");
  CHECK(wrong(R"({"a": [{"n": 0}]})") == "a.0.n");
  CHECK(wrong(R"({"a": [{"n": 1.5}]})") == "a.0.n");
  CHECK(wrong(R"({"a": [{}]})") == "a.0.n");
  CHECK(wrong(R"({"a": [], "b": "y"})") == "b");
  CHECK(wrong(R"({"a": [], "c": "abc"})") == "c");
  CHECK(wrong(R"({"a": [], "d": 1})") == "d");
}

TEST_CASE("a problem quotes bytes that are no text") {
  const AdminReply reply = Problem{.status = 404, .detail = "no \xff\x00"}.reply();
  const json parsed = json::parse(reply.body);
  CHECK(parsed.at("title") == "Not found");
  CHECK(parsed.at("type") == "urn:cairn:problem:not-found");
  CHECK_FALSE(parsed.contains("hint"));
}
