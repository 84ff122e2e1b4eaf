#!/bin/sh
# A compiler that never comes to an end; its artefact is its process id.
echo $$
exec sleep 3600
