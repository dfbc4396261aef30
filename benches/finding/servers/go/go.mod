module finding

go 1.19
