/* hiredis_client PORT : a script of commands with hiredis, one by one and pipelined. Prints "ready". */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(redisReply* reply, int type, const char* text, const char* what) {
  if (reply == NULL || reply->type != type || (text != NULL && strcmp(reply->str, text) != 0)) {
    printf("failed %s: %s\n", what, reply == NULL ? "no reply" : reply->str == NULL ? "another type" : reply->str);
    exit(1);
  }
  freeReplyObject(reply);
}

int main(int argc, char** argv) {
  redisContext* c = redisConnect("127.0.0.1", argc > 1 ? atoi(argv[1]) : 6379);
  if (c == NULL || c->err) return printf("failed to connect\n"), 1;
  for (int i = 0; i < 50; ++i) {
    check(redisCommand(c, "SET hi-%d %b", i, "a\0b", (size_t)3), REDIS_REPLY_STATUS, "OK", "SET");
    check(redisCommand(c, "STRLEN hi-%d", i), REDIS_REPLY_INTEGER, NULL, "STRLEN");
    check(redisCommand(c, "HSET hi-h%d f %d", i, i), REDIS_REPLY_INTEGER, NULL, "HSET");
    check(redisCommand(c, "HGETALL hi-h%d", i), REDIS_REPLY_ARRAY, NULL, "HGETALL");
    check(redisCommand(c, "GET hi-h%d", i), REDIS_REPLY_ERROR, NULL, "GET of a hash");
    check(redisCommand(c, "DEL hi-h%d hi-%d", i, i), REDIS_REPLY_INTEGER, NULL, "DEL");
  }
  for (int i = 0; i < 1000; ++i) redisAppendCommand(c, "INCR hi-n");
  for (long long i = 1; i <= 1000; ++i) {
    redisReply* reply = NULL;
    if (redisGetReply(c, (void**)&reply) != REDIS_OK || reply->type != REDIS_REPLY_INTEGER || reply->integer != i) {
      return printf("failed INCR %lld\n", i), 1;
    }
    freeReplyObject(reply);
  }
  check(redisCommand(c, "DEL hi-n"), REDIS_REPLY_INTEGER, NULL, "DEL");
  printf("ready\n");
  redisFree(c);
  return 0;
}
