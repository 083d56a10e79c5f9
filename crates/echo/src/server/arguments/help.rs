//! What can be asked for, in words.

/// Printed by `--help`.
pub(crate) const HELP: &str = "\
Tells who it is, where it was reached and by whom, over HTTP, TCP and UDP.

Usage: echo-server [--port PORT]...

      --port PORT   serve HTTP, TCP and UDP on this port; may be given several
                    times, or as PORT,PORT, or in the variable PORT or HTTP_PORT
                    [default: 8080]

HTTP paths: /hostname (the name), /health (ok), /clientip, /echo?msg=TEXT,
/dial?host=H&port=P&request=R, any other: the report, as JSON with
?format=json or `Accept: application/json`.

It also serves as these programs do, by their own arguments:

  agnhost netexec         --http-port --udp-port --http-override --delay-shutdown
                          /hostname /echo /clientip /dial /header /healthz
                          /redirect /exit /shutdown; UDP hostname, echo, clientip
  agnhost serve-hostname  --http --tcp --udp --port --close
  agnhost connect         HOST:PORT --timeout --protocol (tcp, udp)
  agnhost pause, pause    waits for a signal
  http-echo               -text -listen -status-code
  whoami                  --port --name --verbose
  nginx                   -g 'daemon off;' (and -c, which is ignored)
  httpd                   -f -p PORT; also httpd-foreground
  python3 -m http.server  [PORT] --bind --directory
  nc -l                   -p PORT -u -k -v -n: TCP or UDP echo
  socat                   TCP-LISTEN:PORT or UDP-LISTEN:PORT, whatever comes
                          second: TCP or UDP echo
  sleep                   SECONDS, also with s, m, h, d; infinity
";

/// Ends the complaint about arguments that are not understood.
pub(crate) const UNDERSTOOD: &str = "\
this image understands: --port PORT (echo-server), netexec, serve-hostname, connect, pause (agnhost), \
-text and -listen (http-echo), --port and --name (whoami), nginx -g 'daemon off;', httpd -f -p PORT, \
python3 -m http.server PORT, nc -l -p PORT, socat TCP-LISTEN:PORT, sleep SECONDS, curl, echo-client; \
see echo-server --help";
