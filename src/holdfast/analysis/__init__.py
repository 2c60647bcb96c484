"""The papers' analyses: one file per question, each giving figures as data, pictures and a paragraph."""
