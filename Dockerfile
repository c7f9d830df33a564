# The page, or the server for a team, on ONNX Runtime, run by a user without rights:
#   docker build --tag mobilesam .
#   docker run --rm --read-only --tmpfs /tmp --publish 127.0.0.1:7860:7860 mobilesam
#   docker run --rm --read-only --tmpfs /tmp --publish 127.0.0.1:8080:8080 --env MOBILESAM_API_KEYS mobilesam \
#     serve --host 0.0.0.0
FROM python:3.12-slim-bookworm

RUN apt-get update \
 && apt-get install --yes --no-install-recommends curl libgl1 libglib2.0-0 \
 && rm -rf /var/lib/apt/lists/*

RUN useradd --create-home mobilesam
USER mobilesam
WORKDIR /home/mobilesam/mobilesam
COPY --chown=mobilesam . .

RUN python3 -m venv .venv
RUN .venv/bin/pip install --no-cache-dir ".[webui,serve]"
RUN .venv/bin/mobilesam weights fetch

# The server cannot know the names by which its published port is reached. It accepts localhost, IP addresses and these.
ENV MOBILESAM_ALLOW_HOST=localhost
EXPOSE 7860 8080
HEALTHCHECK CMD curl --fail --silent http://127.0.0.1:7860/health || curl --fail --silent http://127.0.0.1:8080/health
ENTRYPOINT [".venv/bin/mobilesam"]
CMD ["webui", "--host", "0.0.0.0"]
